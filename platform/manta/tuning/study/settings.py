"""Settings of a study: the `study` section of a search-space file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from manta.errors import ConfigError, did_you_mean

SamplerName = Literal["tpe", "random", "cmaes", "gp", "nsga2"]
SchedulerName = Literal["asha", "median", "pbt", "none"]
Unit = Literal["epochs", "steps"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SchedulerConfig(_Section):
    """Which trials are stopped early.

    A trial is evaluated every `min` of the resource; `max` is a whole trial.
    """

    name: SchedulerName = Field("asha", description="which scheduler; none stops no trial early")
    unit: Unit = Field("epochs", description="of the resource that trials spend")
    min: int = Field(
        1, ge=1, description="resource between evaluations, and before any trial is stopped"
    )
    max: int | None = Field(
        None, ge=1, description="resource of a whole trial; None: train.epochs, at most 9"
    )
    reduction: float = Field(3, gt=1, description="ASHA: one in so many goes on at each rung")


class ResourceSettings(_Section):
    """What a trial takes; `resources.workers` of the recipe says how many workers it has."""

    concurrent: int | None = Field(None, ge=1, description="trials at a time; None: as many as fit")
    cpus: float = Field(1.0, gt=0, description="logical CPUs of a worker")
    gpus: float | None = Field(
        None, ge=0, description="GPUs of a worker, or a fraction; None: 1 where there are any"
    )
    memory_gib: float | None = Field(
        None, gt=0, description="data that a trial's process may hold; None: no limit"
    )


class StudySettings(_Section):
    """Settings of how a space is searched."""

    metric: list[str] = Field(
        default=["knn_top1"],
        min_length=1,
        description="what is optimised, the most important first",
    )
    trials: int = Field(32, ge=1, description="configurations tried in all, the recipe first")
    seed: int = Field(0, ge=0, description="of the sampler's draws")
    sampler: SamplerName | None = Field(None, description="None: tpe, or nsga2 for several metrics")
    scheduler: SchedulerConfig = Field(
        SchedulerConfig(), description="which trials are stopped early, and how long trials are"
    )
    resources: ResourceSettings = Field(ResourceSettings(), description="what a trial takes")
    compare: list[str] = Field(
        default=["rankme", "alpha_req_gap", "lidar", "silhouette"],
        description="metrics without labels that whole trials on labelled data end with, "
        "to be compared with kNN",
    )
    storage: str | None = Field(
        None, description="URL of Optuna's database; None: SQLite in the study's folder"
    )

    @field_validator("metric", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("scheduler", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _suits_several(self) -> StudySettings:
        if len(self.metric) > 1 and self.sampler == "cmaes":
            raise ValueError("sampler cmaes takes one metric; use nsga2, tpe or gp for several")
        if self.scheduler.name == "pbt" and len(self.metric) > 1:
            raise ValueError("scheduler pbt takes one metric")
        return self

    @property
    def sampling(self) -> SamplerName:
        """The sampler that is used where none is named too."""
        if self.scheduler.name == "pbt":
            return "random"  # PBT searches by itself; the sampler draws the first population
        return self.sampler or ("tpe" if len(self.metric) == 1 else "nsga2")


def settings_from(
    section: Mapping[str, Any], error_at: Callable[[str, str], ConfigError] | None = None
) -> StudySettings:
    """Validate a section of settings.

    Args:
        error_at: (key, message) -> an error that names the place in a file.

    Raises:
        ConfigError: one line that names the key.
    """
    try:
        return StudySettings.model_validate(dict(section))
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        path = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            keys = StudySettings.model_fields if len(item["loc"]) == 1 else ()
            message = f"no such key{did_you_mean(path, keys)}"
        elif item["type"] != "value_error":
            message = f"{message} (got {item['input']!r})"
        if error_at is not None:
            raise error_at(path, message) from None
        raise ConfigError(f"study.{path}: {message}") from None
