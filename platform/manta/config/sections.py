"""The sections of an experiment. An unknown key in any of them is an error.

An objective and an evaluator own the settings of their part of an experiment: the `name` in it says
whose `Config` validates it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    model_validator,
)

from manta.config.text import dump_yaml
from manta.encoders import RunEncoderConfig
from manta.errors import MantaError
from manta.evaluators import EVALUATORS, EvaluatorConfig
from manta.modalities import MODALITIES, Modality, Stats
from manta.modalities.config import DataConfig
from manta.objectives import OBJECTIVES, ObjectiveConfig
from manta.schedules import AnySchedule, Cosine, Scheduled
from manta.views import VIEWS, ViewsConfig

Precision = Literal["auto", "bf16", "float32"]
_PRECISION_ALIASES = {
    "float32": ("fp32", "32", "f32", "float", "single", "32_true"),
    "bf16": ("bfloat16", "bf_16", "bf16_mixed", "bf16_true", "mixed_bf16"),
    "auto": ("amp", "mixed", "mixed_precision"),
}
_HALF = ("fp16", "16", "f16", "float16", "half", "16_mixed", "16_true", "fp16_mixed", "amp_fp16")


def _precision(value: Any) -> Any:
    """Return the precision that another library's word means."""
    word = str(value).strip().lower().replace("-", "_")
    if word in _HALF:
        raise ValueError(
            f"{value!s} is not offered: small gradients vanish in float16 unless losses are "
            "scaled; write bf16, which is as small and needs no scaling, float32, or auto"
        )
    if word in ("tf32", "tensorfloat32"):
        raise ValueError(
            "tf32 is a way in which GPUs multiply float32, and not a precision of its own; write "
            "float32, or auto for the fastest"
        )
    meant = (name for name, words in _PRECISION_ALIASES.items() if word in (name, *words))
    return next(meant, value)


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True
    )


class TrainConfig(_Section):
    """Settings of the training loop."""

    epochs: float = Field(100, gt=0, description="passes over the training rows; may be a fraction")
    batch_size: int = Field(256, ge=2, description="global: summed over workers")
    accumulate: int = Field(
        1,
        ge=1,
        description="micro-batches per optimizer step (each is batch_size / accumulate); BatchNorm "
        "and a method that compares samples see one of them at a time, over all workers",
    )
    seed: int = Field(
        0, ge=0, description="of the weights, the order of rows and the augmentations"
    )
    precision: Annotated[Precision, BeforeValidator(_precision)] = Field(
        "auto", description="auto: bf16 where the hardware multiplies in it; or bf16, float32"
    )
    compile: bool = Field(
        False, description="compile the encoder with torch.compile: a slow start, faster steps"
    )
    channels_last: bool = Field(
        True, description="keep images and convolutions in channels-last memory order"
    )
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    checkpoint_every: int | None = Field(None, ge=1, description="steps; None: once an epoch")
    keep_last: int = Field(2, ge=1, description="checkpoints kept besides the best")
    log_every: int = Field(10, ge=1, description="steps between metrics")
    max_failures: int = Field(
        3, ge=0, description="worker failures survived by restarting from the last checkpoint"
    )


class OptimizerConfig(_Section):
    """Settings of the optimizer, any of timm's; biases, norms and tokens get no weight decay."""

    of_name: ClassVar[tuple[str, ...]] = ("args",)

    name: str = Field("adamw", description="a timm optimizer, such as adamw, sgd, lars or muon")
    lr: float = Field(
        1e-3, gt=0, description="peak learning rate at the stated batch size; nothing is scaled"
    )
    schedule: AnySchedule = Field(Cosine(warmup=0.1), description="factor of lr")
    weight_decay: Scheduled = Field(0.05, description="decay of weights, a number or a schedule")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="momentum of optimizers that have one, such as sgd and lars"
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimizer"
    )


class ResourcesConfig(_Section):
    """Settings of what a run takes from the cluster."""

    workers: int = Field(1, ge=1, description="training processes that share a batch")
    gpu: Literal["auto"] | bool = Field(
        "auto", description="auto: one GPU a worker where the cluster has enough"
    )
    autoscaling: bool = Field(
        False, description="the cluster may grow: wait for what is missing now"
    )
    cpus_per_worker: float | None = Field(
        None, gt=0, description="logical CPUs a worker holds; None: by the machine"
    )
    threads_per_worker: int | None = Field(
        None, ge=1, description="torch threads; None: by the machine"
    )


def _default_evaluators() -> Any:
    # Plain data, which the validator turns into the evaluators' configs.
    return [{"name": "knn"}, {"name": "linear"}, {"name": "rank"}]


class EvaluationConfig(_Section):
    """Settings of the evaluations on rows held out of training."""

    holdout: float = Field(
        0.1, ge=0, lt=1, description="fraction of rows held out, by index, or of whole groups"
    )
    holdout_group: list[str] = Field(
        default_factory=list,
        description="names of the groups to hold out, these alone; see data.group",
    )
    bank_rows: int = Field(50_000, ge=1, description="training rows that probes may use, at most")
    query_rows: int = Field(10_000, ge=1, description="held-out rows that are scored, at most")
    evaluators: list[
        Annotated[SerializeAsAny[EvaluatorConfig], BeforeValidator(lambda v: _evaluator(v))]
    ] = Field(
        default_factory=_default_evaluators,
        description="evaluators and their settings; see `manta describe evaluator`",
    )
    select: str = Field(
        "knn_top1", description="metric by which the best checkpoint is kept; larger is better"
    )


class WatchConfig(_Section):
    """Limits below which a run counts as collapsed and is stopped with a diagnosis."""

    every: int = Field(50, ge=1, description="steps between checks")
    min_std: float = Field(
        0.01, ge=0, description="least standard deviation of normalised features times sqrt(D)"
    )
    min_rank: float = Field(1.5, ge=0, description="least effective rank of features")
    patience: int = Field(3, ge=1, description="checks in a row below a limit that stop the run")


class TrackingConfig(_Section):
    """Settings of MLflow's record of a run, and of the model that is registered."""

    experiment: str = Field("manta", description="MLflow experiment that the run is put into")
    register_as: str | None = Field(
        None, description="registered model name; None: manta-<objective>-<encoder>"
    )
    register_model: bool = Field(True, description="register the encoder when a run has finished")
    tags: dict[str, str] = Field(default_factory=dict, description="tags of the MLflow run")


class Experiment(_Section):
    """The whole description of a run."""

    description: str = Field(
        "", description="what the recipe is for, its expected wall time and metric"
    )
    data: Annotated[SerializeAsAny[DataConfig], BeforeValidator(lambda v: _data(v))] = Field(
        description="the samples"
    )
    encoder: RunEncoderConfig = Field(default_factory=RunEncoderConfig, description="the backbone")
    objective: Annotated[
        SerializeAsAny[ObjectiveConfig], BeforeValidator(lambda v: _objective(v))
    ] = Field(description="the method by which the encoder is trained")
    views: Annotated[SerializeAsAny[ViewsConfig], BeforeValidator(lambda v: _views(v))] = Field(
        default_factory=lambda: _views({}), description="the augmentations"
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="the training loop")
    optimizer: OptimizerConfig = Field(
        default_factory=OptimizerConfig, description="the optimizer and its schedules"
    )
    resources: ResourcesConfig = Field(
        default_factory=ResourcesConfig, description="workers, CPUs and GPUs"
    )
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="evaluations on rows held out"
    )
    watch: WatchConfig = Field(
        default_factory=WatchConfig, description="when a run counts as collapsed"
    )
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description="MLflow's record, and the registered model"
    )

    @model_validator(mode="before")
    @classmethod
    def _views_of_modality(cls, tree: Any) -> Any:
        return with_view_pipeline(tree) if isinstance(tree, Mapping) else tree

    @model_validator(mode="after")
    def _batch_divides(self) -> Experiment:
        parts = self.resources.workers * self.train.accumulate
        if self.train.batch_size % parts:
            better = max(self.train.batch_size // parts, 1) * parts
            raise ValueError(
                f"train.batch_size {self.train.batch_size} does not divide into "
                f"{self.resources.workers} workers x {self.train.accumulate} micro-batches; "
                f"{better} does"
            )
        return self

    def modality(self, stats: Stats | None = None) -> Modality[Any]:
        """Return what a sample is.

        Args:
            stats: of the dataset; None where there is none yet.
        """
        return MODALITIES[self.data.modality](self.data, stats or {})

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits of what decides the training trajectory.

        A checkpoint carries them, so that no run resumes with other settings. Left out is what may
        change between attempts: how often things are saved, logged, checked or evaluated, and where
        they are tracked. The number of workers is left out too, since it does not change the
        batches.
        """
        kept = self.model_dump(
            mode="json", exclude={"tracking", "watch", "resources", "description"}
        )
        for key in ("checkpoint_every", "keep_last", "log_every", "max_failures"):
            kept["train"].pop(key)
        of_source = ("source", "split", "column", "labels", "group")
        for key in (*of_source, "cache", "cache_dir", "decode_tasks"):
            kept["data"].pop(key)
        if not self.data.buckets:
            kept["data"].pop("buckets")  # runs from before there were any resume
        for section, key in (("data", "modality"), ("views", "name")):
            if kept[section][key] == "image":  # runs from before there were others resume
                kept[section].pop(key)
        kept["evaluation"] = {"holdout": self.evaluation.holdout}
        if self.evaluation.holdout_group:
            kept["evaluation"]["holdout_group"] = sorted(self.evaluation.holdout_group)
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """Return text that `load` reads back to an equal Experiment."""
        return dump_yaml(self.model_dump(mode="json"))


def with_view_pipeline(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's plain data with the name of its view pipeline.

    Where none is given it is that of the modality. Data that are no experiment's stay as they are.
    """
    data, views = tree.get("data"), tree.get("views", {})
    modality = data.get("modality") if isinstance(data, Mapping) else None
    known = isinstance(modality, str) and modality in MODALITIES
    if not known or not isinstance(views, Mapping) or "name" in views:
        return dict(tree)
    name = MODALITIES[str(modality)].views_name
    return {**tree, "views": {"name": name, **views}}


def _data(value: Any) -> Any:
    return _component(value, MODALITIES, "data", key="modality", default="image")


def _views(value: Any) -> Any:
    return _component(value, VIEWS, "views", default="image")


def _objective(value: Any) -> Any:
    return _component(value, OBJECTIVES, "objective")


def _evaluator(value: Any) -> Any:
    return _component(value, EVALUATORS, "evaluator")


def _component(
    value: Any, registry: Any, noun: str, *, key: str = "name", default: str | None = None
) -> Any:
    """Return the validated settings of the component that `value[key]` names."""
    if isinstance(value, str):
        value = {key: value}
    if not isinstance(value, Mapping):
        return value
    if key not in value and default is None:
        raise ValueError(f"{noun} needs a {key}; one of {', '.join(registry)}")
    try:
        model = registry[value.get(key, default)].Config
    except MantaError as error:
        raise ValueError(str(error)) from None
    return model.model_validate(dict(value))
