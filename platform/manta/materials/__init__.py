"""What an objective needs before its first step: made by the driver, kept in the run's folder."""
