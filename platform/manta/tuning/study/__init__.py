"""A study on disk: settings, metrics, database, records."""
