"""Judging frozen features: one file per evaluator."""

from manta.evaluation._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, build, evaluate

__all__ = ["EVALUATORS", "Evaluator", "EvaluatorConfig", "Features", "build", "evaluate"]
