"""Tuning: a space of configurations, searched by Optuna under Ray Tune."""
