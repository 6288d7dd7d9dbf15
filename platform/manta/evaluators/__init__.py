"""Evaluators of encoders, by frozen features or by the encoder itself: one file each."""

from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Evaluator,
    EvaluatorConfig,
    Features,
    LabelledImages,
    Scores,
    build,
    counted,
    evaluate_all,
    means,
    missing_input,
)
from manta.evaluators._intervals import Gain, interval, paired_gain

__all__ = [
    "EVALUATORS",
    "EncoderAccess",
    "EncoderEvaluator",
    "EncoderEvaluatorConfig",
    "Evaluator",
    "EvaluatorConfig",
    "Features",
    "Gain",
    "LabelledImages",
    "Scores",
    "build",
    "counted",
    "evaluate_all",
    "interval",
    "means",
    "missing_input",
    "paired_gain",
]
