"""One typed description of a run: YAML and `a.b=c` overrides in, a frozen `Experiment` out."""

from manta.config.fields import field_rows
from manta.config.load import changed, from_mapping, load
from manta.config.named import model_at, rename
from manta.config.reference import describable, describe, describe_section
from manta.config.sections import (
    EvaluationConfig,
    Experiment,
    OptimizerConfig,
    ResourcesConfig,
    TrackingConfig,
    TrainConfig,
    WatchConfig,
)
from manta.config.text import parse_yaml
from manta.modalities.config import DataConfig

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "Experiment",
    "OptimizerConfig",
    "ResourcesConfig",
    "TrackingConfig",
    "TrainConfig",
    "WatchConfig",
    "changed",
    "describable",
    "describe",
    "describe_section",
    "field_rows",
    "from_mapping",
    "load",
    "model_at",
    "parse_yaml",
    "rename",
]
