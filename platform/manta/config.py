"""One typed description of a run. YAML plus `a.b=c` overrides in, a frozen `Experiment` out.

Unknown keys are errors that name their path. A component (objective, evaluator) owns its own part,
found by `name`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from manta.encoders import EncoderConfig
from manta.errors import ConfigError, MantaError, did_you_mean
from manta.evaluators import EVALUATORS, EvaluatorConfig
from manta.objectives import OBJECTIVES, ObjectiveConfig
from manta.schedules import AnySchedule, Cosine, Scheduled
from manta.views import ViewsConfig

Precision = Literal["auto", "bf16", "float32"]
_PRECISION_ALIASES = {
    "fp32": "float32",
    "32": "float32",
    32: "float32",
    "bfloat16": "bf16",
    "float": "float32",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DataConfig(_Section):
    """Where samples come from and how they reach a worker."""

    source: str = Field(
        description="image folder, Parquet, WebDataset tars, file list, ingested dataset, or 'digits'"
    )
    image_size: int = Field(32, ge=8, description="side of a global view in pixels")
    decode_size: int | None = Field(
        None, ge=8, description="side of the decoded image; None: set by image_size"
    )
    limit: int | None = Field(None, ge=1, description="first N rows of the manifest")
    cache: Literal["none", "memory"] = Field(
        "none",
        description="memory: decode once and keep images in the object store, for each worker",
    )
    cache_dir: str | None = Field(
        None, description="where a raw source is ingested to; None: beside the runs"
    )
    shuffle_rows: int = Field(
        4096, ge=1, description="rows mixed with one another, from many shards"
    )
    decode_tasks: int | None = Field(
        None, ge=1, description="decode tasks per worker at a time; None: by the CPUs"
    )

    @property
    def canonical_size(self) -> int:
        """Side of the uint8 square that decoding gives: a margin over large views, none over small
        ones."""
        if self.decode_size is not None:
            return self.decode_size
        return self.image_size if self.image_size <= 96 else round(self.image_size * 8 / 7)


class TrainConfig(_Section):
    """The loop."""

    epochs: float = Field(100, gt=0, description="passes over the training rows; may be a fraction")
    batch_size: int = Field(256, ge=2, description="global: summed over workers")
    accumulate: int = Field(
        1, ge=1, description="micro-batches per optimizer step (each is batch_size / accumulate)"
    )
    seed: int = Field(0, ge=0)
    precision: Annotated[Precision, BeforeValidator(lambda v: _PRECISION_ALIASES.get(v, v))] = (
        "auto"
    )
    compile: bool = False
    channels_last: bool = True
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    checkpoint_every: int | None = Field(None, ge=1, description="steps; None: once an epoch")
    keep_last: int = Field(2, ge=1, description="checkpoints kept besides the best")
    log_every: int = Field(10, ge=1, description="steps between metrics")
    max_failures: int = Field(
        3, ge=0, description="worker failures survived by restarting from the last checkpoint"
    )


class OptimizerConfig(_Section):
    """Any timm optimizer. Biases, norms and tokens get no weight decay."""

    name: str = "adamw"
    lr: float = Field(
        1e-3, gt=0, description="peak learning rate at the stated batch size; nothing is scaled"
    )
    schedule: AnySchedule = Field(Cosine(warmup=0.1), description="factor of lr")
    weight_decay: Scheduled = 0.05
    momentum: float = Field(0.9, ge=0, lt=1)
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimizer"
    )


class ResourcesConfig(_Section):
    """What a run takes from the cluster."""

    workers: int = Field(1, ge=1)
    gpu: Literal["auto"] | bool = "auto"
    autoscaling: bool = Field(
        False, description="the cluster may grow: wait for what is missing now"
    )
    cpus_per_worker: float | None = Field(
        None, gt=0, description="logical CPUs a worker holds; None: by the machine"
    )
    threads_per_worker: int | None = Field(
        None, ge=1, description="torch threads; None: by the machine"
    )


class EvaluationConfig(_Section):
    """What is measured on rows held out of training."""

    holdout: float = Field(0.1, ge=0, lt=1, description="fraction of rows held out, by index")
    bank_rows: int = Field(50_000, ge=1, description="training rows that probes may use, at most")
    query_rows: int = Field(10_000, ge=1, description="held-out rows that are scored, at most")
    evaluators: list[
        Annotated[SerializeAsAny[EvaluatorConfig], BeforeValidator(lambda v: _evaluator(v))]
    ] = Field(
        default_factory=lambda: [{"name": "knn"}, {"name": "linear"}, {"name": "rank"}],  # type: ignore[arg-type]
    )
    select: str = Field(
        "knn_top1", description="metric by which the best checkpoint is kept; larger is better"
    )


class WatchConfig(_Section):
    """When a run is stopped with a diagnosis."""

    every: int = Field(50, ge=1, description="steps between looks")
    min_std: float = Field(
        0.01, ge=0, description="least standard deviation of normalised features times sqrt(D)"
    )
    min_rank: float = Field(1.5, ge=0, description="least effective rank of features")
    patience: int = Field(3, ge=1, description="looks in a row below the limits")


class TrackingConfig(_Section):
    """MLflow."""

    experiment: str = "manta"
    register_as: str | None = Field(
        None, description="registered model name; None: manta-<objective>-<encoder>"
    )
    register_model: bool = True
    tags: dict[str, str] = Field(default_factory=dict)


class Experiment(_Section):
    """A run, whole."""

    description: str = Field(
        "", description="what the recipe is for, its expected wall time and metric"
    )
    data: DataConfig
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    objective: Annotated[SerializeAsAny[ObjectiveConfig], BeforeValidator(lambda v: _objective(v))]
    views: ViewsConfig = Field(default_factory=ViewsConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    watch: WatchConfig = Field(default_factory=WatchConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)

    @model_validator(mode="after")
    def _batch_divides(self) -> Experiment:
        parts = self.resources.workers * self.train.accumulate
        if self.train.batch_size % parts:
            better = max(self.train.batch_size // parts, 1) * parts
            raise ValueError(
                f"train.batch_size {self.train.batch_size} does not divide into {self.resources.workers} workers x "
                f"{self.train.accumulate} micro-batches; {better} does"
            )
        return self

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of what decides the training trajectory: a checkpoint carries
        them.

        Left out is what may change between attempts: how often things are saved, logged, watched or
        evaluated, and where they are tracked. The number of workers is left out too, since it does
        not change the batches.
        """
        kept = self.model_dump(
            mode="json", exclude={"tracking", "watch", "resources", "description"}
        )
        for key in ("checkpoint_every", "keep_last", "log_every", "max_failures"):
            kept["train"].pop(key)
        for key in ("source", "cache", "cache_dir", "decode_tasks"):
            kept["data"].pop(key)
        kept["evaluation"] = {"holdout": self.evaluation.holdout}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """What `load` reads back to an equal Experiment."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=110)


def load(recipe: str | Path | None, overrides: Iterable[str] = ()) -> Experiment:
    """A recipe file (or nothing) with `a.b=c` overrides.

    Raises:
        ConfigError: one line that names the key and what is wrong with it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    tree: Any = {}
    if recipe is not None:
        path = Path(recipe)
        try:
            tree = yaml.safe_load(path.read_text()) or {}
        except FileNotFoundError:
            raise ConfigError(
                f"no recipe at {path}; `manta list recipes` shows those that ship"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(tree, dict):
            raise ConfigError(f"{path} must hold a mapping of sections, not {type(tree).__name__}")
    words = list(overrides)
    for word in words:
        if "=" not in word or word.startswith(("=", "-")):
            raise ConfigError(f"override {word!r} is not of the form section.key=value")
    try:
        changes = OmegaConf.from_dotlist(words)
        _drop_arguments(tree, OmegaConf.to_container(changes))
        merged = OmegaConf.merge(OmegaConf.create(tree), changes)
        resolved = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"overrides cannot be applied: {' '.join(str(error).split())}") from None
    return from_mapping(resolved)


def _drop_arguments(tree: Any, changes: Any) -> None:
    """Where overrides name another encoder or optimizer, leave out the `args` that the recipe has
    for its own."""
    if not isinstance(tree, dict) or not isinstance(changes, Mapping):
        return
    if "args" in tree and "name" in tree and changes.get("name", tree["name"]) != tree["name"]:
        tree["args"] = {}
    for key, change in changes.items():
        _drop_arguments(tree.get(key), change)


def from_mapping(tree: Mapping[str, Any]) -> Experiment:
    """An Experiment from plain data.

    Raises:
        ConfigError: as `load`.
    """
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error, tree)) from None


def _objective(value: Any) -> Any:
    return _component(value, OBJECTIVES, "objective")


def _evaluator(value: Any) -> Any:
    return _component(value, EVALUATORS, "evaluator")


def _component(value: Any, registry: Any, what: str) -> Any:
    """The config model of the component that `value["name"]` names."""
    if not isinstance(value, Mapping):
        return value
    if "name" not in value:
        raise ValueError(f"{what} needs a name; one of {', '.join(registry)}")
    try:
        model = registry[value["name"]].Config
    except MantaError as error:
        raise ValueError(str(error)) from None
    return model.model_validate(dict(value))


def _one_line(error: ValidationError, tree: Mapping[str, Any]) -> str:
    parts = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            *section, key = item["loc"]
            message = f"no such key{did_you_mean(key, _keys(tree, section))}"
        elif item["type"] == "missing":
            message = "is required"
        elif not path.startswith("data.source") and item["type"] not in ("value_error",):
            message = f"{message} (got {item['input']!r})"
        parts.append(f"{path}: {message}" if path else message)
    return "; ".join(parts[:3])


def _keys(tree: Any, section: Iterable[int | str]) -> list[str]:
    """What the section at a path can hold; nothing where a union leaves that open."""
    model: Any
    match list(section):
        case ["objective", *inner]:
            model = OBJECTIVES[tree["objective"]["name"]].Config
        case ["evaluation", "evaluators", int(place), *inner]:
            model = EVALUATORS[tree["evaluation"]["evaluators"][place]["name"]].Config
        case inner:
            model = Experiment
    for part in inner:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))
