"""Judging encoders by their frozen features, and some by themselves: one file per evaluator."""

from manta.evaluators._base import (
    EVALUATORS,
    Bench,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Evaluator,
    EvaluatorConfig,
    Features,
    LabelledImages,
    Scores,
    build,
    counted,
    evaluate,
    lacking,
    means,
)
from manta.evaluators._intervals import Gain, interval, paired_gain

__all__ = [
    "EVALUATORS",
    "Bench",
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
    "evaluate",
    "interval",
    "lacking",
    "means",
    "paired_gain",
]
