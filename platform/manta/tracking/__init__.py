"""Runs, metrics and models in MLflow. Nothing else imports mlflow, and importing this does not: that costs a second."""

from manta.tracking.journal import Record, read_metrics
from manta.tracking.metrics import MetricLog
from manta.tracking.registry import RegisteredModel, download_model, log_model
from manta.tracking.system import SystemSampler
from manta.tracking.tracker import Dataset, Tracker

__all__ = [
    "Dataset",
    "MetricLog",
    "Record",
    "RegisteredModel",
    "SystemSampler",
    "Tracker",
    "download_model",
    "log_model",
    "read_metrics",
]
