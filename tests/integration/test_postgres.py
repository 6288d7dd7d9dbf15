"""A study in a real PostgreSQL server, which this test starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from postgres_server import postgres

from manta.config import from_mapping
from manta.errors import ConfigError
from manta.tuning.space.read import read_space
from manta.tuning.study.metrics import metric
from manta.tuning.study.rung_result import RESOURCE
from manta.tuning.study.storage import open_storage
from manta.tuning.trials.search import SearchPlan, StudySearch

SPACE = "space:\n  objective.temperature: {type: float, low: 0.05, high: 1.0, log: true}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an empty database."""
    with postgres() as url:
        yield url


@pytest.fixture
def opened(server: str) -> Iterator[Callable[[], RDBStorage]]:
    """Opens the database as often as a test likes; the connections are closed after it."""
    found: list[RDBStorage] = []

    def open_one() -> RDBStorage:
        found.append(open_storage(server))
        return found[-1]

    yield open_one
    for storage in found:
        storage.remove_session()
        storage.engine.dispose()


def searcher(storage: RDBStorage, folder: Path) -> StudySearch:
    recipe = from_mapping(
        {"data": {"source": "digits"}, "objective": {"name": "dcl", "temperature": 0.2}}
    )
    file = folder / "space.yaml"
    file.write_text(SPACE)
    space = read_space(file, recipe)[0]
    plan = SearchPlan("shared", storage, sampler="tpe", seed=0, trials=8, whole=3)
    return StudySearch(space, recipe, [metric("knn_top1")], plan)


def test_a_study_lives_in_postgres(opened: Callable[[], RDBStorage], tmp_path: Path) -> None:
    first = searcher(opened(), tmp_path)
    for number in range(5):
        config = first.suggest(f"t{number}")
        assert config is not None
        value = 1 - abs(config["drawn"]["objective.temperature"] - 0.3)
        stopped = number == 3
        ending = {RESOURCE: 1 if stopped else 3, "values/knn_top1": value, "knn_top1": value}
        first.on_trial_complete(f"t{number}", {"failed": "it crashed"} if number == 4 else ending)
    left = first.suggest("unfinished")

    again = searcher(opened(), tmp_path)
    assert again.left == 3
    assert again.suggest("resumed") == left
    study = optuna.load_study(study_name="shared", storage=opened())
    states = [TrialState.COMPLETE] * 3 + [
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert [trial.state for trial in study.trials] == states
    assert study.trials[0].params == {"objective.temperature": 0.2}
    assert study.trials[4].constraints["trains"] > 0
    assert study.trials[3].intermediate_values == {
        1: pytest.approx(study.trials[3].user_attrs["manta.values"]["knn_top1"])
    }


def test_a_database_that_is_not_there_is_one_line(server: str) -> None:
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        open_storage(server.replace("/postgres", "/nothing"))
    assert "secret" not in str(caught.value)
