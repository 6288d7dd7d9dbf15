"""The driver's workshop, in which the materials of objectives are made before training."""
