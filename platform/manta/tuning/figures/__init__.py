"""The plots and tables of a study."""
