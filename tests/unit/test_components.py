"""Objectives and evaluators of the user's own: registered anywhere, and on their way to workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
from ray import cloudpickle

import manta
from manta.batch import Batch, Progress
from manta.errors import ConfigError, RunError
from manta.evaluators import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.objectives import OBJECTIVES, Objective, ObjectiveConfig
from manta.runs.store import require_components
from manta.training.components import own_components


class OddConfig(ObjectiveConfig):
    """Settings of Odd."""

    name: Literal["odd"] = "odd"
    power: float = 2.0


class Odd(Objective[OddConfig]):
    """The mean of the embedding."""

    Config = OddConfig

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Any]:
        return {"loss": self.encoder(batch.global_views[0].data).mean()}


class SizeConfig(EvaluatorConfig):
    """Settings of Size."""

    name: Literal["size"] = "size"


class Size(Evaluator[SizeConfig]):
    """The mean length of queries."""

    Config = SizeConfig

    def evaluate(self, features: Features) -> Scores:
        return {"size": float(features.queries.norm(dim=1).mean())}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What a test registers is gone after it; the built-in ones are loaded before, and stay."""
    known = [(registry, dict(registry.items())) for registry in (OBJECTIVES, EVALUATORS)]
    yield
    for registry, components in known:
        registry._components.clear()
        registry._components.update(components)


def recipe(**overrides: Any) -> manta.Experiment:
    return manta.load_recipe("digits", overrides, progress=False)


def test_the_decorator_registers_and_returns_the_class():
    assert manta.objective("odd")(Odd) is Odd
    assert recipe(objective={"name": "odd"}).objective == OddConfig(power=2.0)
    assert manta.list_objectives()["odd"]["paper"] is None
    assert manta.describe("objective", "odd").table.loc["objective.power", "default"] == 2.0
    assert manta.evaluator("size")(Size) is Size
    evaluators = [{"name": "size"}]
    assert recipe(evaluation={"evaluators": evaluators}).evaluation.evaluators == [SizeConfig()]


def test_a_name_of_mantas_own_is_refused():
    with pytest.raises(ConfigError, match="'simclr' is registered twice"):
        manta.objective("simclr")(Odd)
    assert OBJECTIVES["simclr"] is not Odd


def test_what_is_not_an_objective_is_refused():
    with pytest.raises(ConfigError, match="'odd' is not a subclass of Objective"):
        manta.objective("odd")(Size)  # type: ignore[type-var]

    class Bare(Objective[Any]):
        def forward(self, batch: Batch, progress: Progress) -> dict[str, Any]:
            return {}

    with pytest.raises(ConfigError, match=r"Bare needs `Config = ...`, a subclass of Objective"):
        manta.objective("bare")(Bare)


def test_two_classes_of_one_name_clash_unless_both_are_in_the_script(monkeypatch):
    class Other(Odd):
        pass

    manta.objective("odd")(Odd)
    with pytest.raises(ConfigError, match="registered twice"):
        manta.objective("odd")(Other)
    for kind in (Odd, Other):
        monkeypatch.setattr(kind, "__module__", "__main__")
    manta.objective("odd")(Other)
    assert OBJECTIVES["odd"] is Other


def test_components_travel_if_they_are_named_or_of_the_script(monkeypatch):
    plain = recipe()
    assert own_components(plain) == ()
    manta.objective("odd")(Odd)
    manta.evaluator("size")(Size)
    assert own_components(plain) == ()
    named = own_components(recipe(objective={"name": "odd"}))
    assert [(one.kind, one.name, one.component) for one in named] == [("objectives", "odd", Odd)]
    monkeypatch.setattr(Size, "__module__", "__main__")
    assert [one.name for one in own_components(plain)] == ["size"]


def test_a_component_is_registered_where_it_arrives():
    manta.objective("odd")(Odd)
    data = cloudpickle.dumps(own_components(recipe(objective={"name": "odd"})))
    del OBJECTIVES._components["odd"]
    assert "odd" not in OBJECTIVES
    (arrived,) = cloudpickle.loads(data)
    assert OBJECTIVES["odd"] is arrived.component is Odd


def test_what_cannot_travel_is_said_by_name(monkeypatch):
    class Locked(Odd):
        lock: ClassVar[Any] = threading.Lock()

    monkeypatch.setattr(Locked, "__module__", "__main__")
    manta.objective("locked")(Locked)
    with pytest.raises(ConfigError, match=r"objective 'locked' cannot be sent .* pickle '_thread"):
        own_components(recipe())


def test_a_saved_configuration_asks_for_what_it_was_made_with():
    tree = {
        "objective": {"name": "dcl"},
        "evaluation": {"evaluators": [{"name": "knn"}, {"name": "size"}]},
    }
    with pytest.raises(RunError, match="study 's' has the evaluator 'size', which is not defined"):
        require_components(tree, "study 's'")
    manta.evaluator("size")(Size)
    require_components(tree, "study 's'")
