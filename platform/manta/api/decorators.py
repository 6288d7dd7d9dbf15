"""`manta.objective` and `manta.evaluator`: methods of your own, wherever they are defined."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from manta.evaluators import Evaluator
    from manta.objectives import Objective

OwnObjective = TypeVar("OwnObjective", bound="type[Objective[Any]]")
OwnEvaluator = TypeVar("OwnEvaluator", bound="type[Evaluator[Any]]")


def objective(name: str) -> Callable[[OwnObjective], OwnObjective]:
    """Return a class decorator that registers a method of pretraining under a name.

    The class may be defined anywhere, in a notebook's cell or a script too: it travels to the
    workers of every run and study that is started afterwards in this process. Defining it again
    in the same place replaces it. A process that resumes or evaluates such a run defines it first.

    Args:
        name: by which recipes name it, as in `objective.name=NAME`.

    Returns:
        The decorator; it returns the class as it is.

    Raises:
        ConfigError: another class has the name, or the class lacks `Config` or is no `Objective`.
    """
    from manta.objectives import OBJECTIVES, Objective, ObjectiveConfig

    return _decorator(name, OBJECTIVES, Objective, ObjectiveConfig)


def evaluator(name: str) -> Callable[[OwnEvaluator], OwnEvaluator]:
    """Return a class decorator that registers an evaluator under a name, as `manta.objective` does.

    Args:
        name: by which recipes and calls name it, as in `evaluators=["NAME"]`.

    Returns:
        The decorator; it returns the class as it is.

    Raises:
        ConfigError: another class has the name, or the class lacks `Config` or is no `Evaluator`.
    """
    from manta.evaluators import EVALUATORS, Evaluator, EvaluatorConfig

    return _decorator(name, EVALUATORS, Evaluator, EvaluatorConfig)


def _decorator(name: str, registry: Any, base: type, config_base: type) -> Callable[[Any], Any]:
    """Return what checks a class and registers it."""
    from manta.errors import ConfigError

    def add(kind: Any) -> Any:
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise ConfigError(f"{name!r} is not a subclass of {base.__name__}")
        config = getattr(kind, "Config", None)
        if not (isinstance(config, type) and issubclass(config, config_base)):
            raise ConfigError(
                f"{kind.__name__} needs `Config = ...`, a subclass of {config_base.__name__}"
            )
        _ = name in registry  # a built-in of that name is imported, so that the clash is found now
        return registry.register(name)(kind)

    return add
