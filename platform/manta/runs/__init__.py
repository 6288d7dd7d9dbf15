"""Files of a run: its folder, lease, checkpoints and materials, and how they are found again."""
