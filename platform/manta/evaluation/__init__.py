"""Evaluation of models: during a run, after it, side by side, and for a promotion."""
