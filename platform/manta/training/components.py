"""Transport of a user's own objectives, evaluators and modalities to the workers.

A worker can import what is installed: Manta and packages with entry points. A class from a notebook
cell or a script exists only in the driver's `__main__`, so it travels with the task: Ray pickles it
by value, and unpickling registers it, before anything reads the experiment.
"""

from __future__ import annotations

from typing import Any

from ray import cloudpickle

from manta.config import Experiment
from manta.errors import ConfigError
from manta.evaluators import EVALUATORS
from manta.modalities import MODALITIES
from manta.objectives import OBJECTIVES
from manta.registry import Registry
from manta.views import VIEWS

REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry for registry in (OBJECTIVES, EVALUATORS, MODALITIES, VIEWS)
}


class TravellingComponent:
    """Component that registers itself in every process that unpickles it."""

    def __init__(self, kind: str, name: str, component: Any) -> None:
        self.kind, self.name, self.component = kind, name, component

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.kind, self.name, self.component)


def own_components(experiment: Experiment) -> tuple[TravellingComponent, ...]:
    """Return the components registered in this process that workers may need.

    These are all that are defined in `__main__`, and those that the experiment names.

    Raises:
        ConfigError: one of them cannot be pickled.
    """
    named = {experiment.objective.name, experiment.data.modality, experiment.views.name}
    named |= {evaluator.name for evaluator in experiment.evaluation.evaluators}
    return tuple(
        _checked(TravellingComponent(kind, name, component))
        for kind, registry in REGISTRIES.items()
        for name, component in registry.own().items()
        if name in named or component.__module__ == "__main__"
    )


def _checked(travelling: TravellingComponent) -> TravellingComponent:
    # Pickled here once for the error alone: from within Ray it would be a long traceback.
    try:
        cloudpickle.dumps(travelling)
    except Exception as error:  # pickling runs code of the objects that the class refers to
        what, reason = REGISTRIES[travelling.kind].noun, " ".join(str(error).split())
        raise ConfigError(
            f"{what} {travelling.name!r} cannot be sent to the workers ({reason}); let it make what"
            " cannot be pickled in `__init__`, or put it into a module"
        ) from None
    return travelling


def _arrive(kind: str, name: str, component: Any) -> TravellingComponent:
    REGISTRIES[kind].register(name)(component)
    return TravellingComponent(kind, name, component)
