"""Materials of objectives: what is made before training, and kept in the run's folder."""
