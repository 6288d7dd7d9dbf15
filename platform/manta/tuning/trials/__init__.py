"""Running a study's trials with Ray Tune."""
