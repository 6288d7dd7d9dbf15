"""Evaluators of encoders, by frozen features or by the encoder itself: one file each."""

from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    build,
    counted,
    evaluate_all,
    means,
    missing_input,
    missing_modality,
)
from manta.evaluators._floor import lost_to_floor, of_encoder, of_floor
from manta.evaluators._intervals import Gain, interval, paired_gain
from manta.evaluators._labels import MOST_CLASSES, LabelCounts, LabelledData, RowReader
from manta.evaluators._lookup import (
    DescribedMetric,
    declared_metrics,
    describe_evaluator,
    describe_metric,
)
from manta.evaluators._metrics import BESIDE, FLOOR, UNTRAINED, Better, Kind, Metric, MetricFigure

__all__ = [
    "BESIDE",
    "EVALUATORS",
    "FLOOR",
    "MOST_CLASSES",
    "UNTRAINED",
    "Better",
    "DescribedMetric",
    "EncoderAccess",
    "EncoderEvaluator",
    "EncoderEvaluatorConfig",
    "Evaluator",
    "EvaluatorConfig",
    "Features",
    "Gain",
    "Kind",
    "LabelCounts",
    "LabelledData",
    "Metric",
    "MetricFigure",
    "RowReader",
    "Scores",
    "build",
    "counted",
    "declared_metrics",
    "describe_evaluator",
    "describe_metric",
    "evaluate_all",
    "interval",
    "lost_to_floor",
    "means",
    "missing_input",
    "missing_modality",
    "of_encoder",
    "of_floor",
    "paired_gain",
]
