"""Runs, metrics and models in MLflow.

No other package of Manta imports mlflow. This one imports it within functions only, since the
import takes a second.
"""

from manta.tracking.evaluations import exact_version, record_evaluation, run_of_version
from manta.tracking.metrics import MetricLog
from manta.tracking.promotion import EvaluateModels, Evidence, ModelAnswers, promote
from manta.tracking.registry import RegisteredModel, download_model, log_model, register_logged
from manta.tracking.system import SystemSampler
from manta.tracking.tracker import Dataset, Tracker

__all__ = [
    "Dataset",
    "EvaluateModels",
    "Evidence",
    "MetricLog",
    "ModelAnswers",
    "RegisteredModel",
    "SystemSampler",
    "Tracker",
    "download_model",
    "exact_version",
    "log_model",
    "promote",
    "record_evaluation",
    "register_logged",
    "run_of_version",
]
