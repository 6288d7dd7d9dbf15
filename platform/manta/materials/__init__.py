"""Materials of objectives, which are made before training and kept in the run's folder."""
