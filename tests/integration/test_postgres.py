"""A study in a real PostgreSQL server, which this test starts."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from manta.config import from_mapping
from manta.errors import ConfigError
from manta.tuning.metrics import metric
from manta.tuning.search import RESOURCE, StudySearch, open_storage
from manta.tuning.space import read_space

SPACE = "space:\n  objective.temperature: {type: float, low: 0.05, high: 1.0, log: true}\n"


def tool(name: str) -> str:
    """One of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which(name) or next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        raise AssertionError(f"{name} is not installed (Debian: apt-get install postgresql)")
    return str(Path(found).resolve())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty database. PostgreSQL refuses to run as root."""
    folder = Path("/tmp") / f"manta-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    subprocess.run(
        [*user, tool("initdb"), "-D", data, "-U", "manta", "--auth=trust"], check=True, capture_output=True, cwd="/"
    )
    options = ["-D", data, "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    process = subprocess.Popen(
        [*user, tool("postgres"), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
    )
    try:
        url = f"postgresql://manta:secret@127.0.0.1:{port}/postgres"
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        subprocess.run([*user, tool("pg_ctl"), "-D", data, "-m", "immediate", "stop"], capture_output=True, cwd="/")
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


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
    recipe = from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl", "temperature": 0.2}})
    file = folder / "space.yaml"
    file.write_text(SPACE)
    space = read_space(file, recipe)[0]
    chosen: Any = {"sampler": "tpe", "seed": 0, "asked": 8, "whole": 3}
    return StudySearch(space, recipe, [metric("knn_top1")], study="shared", storage=storage, **chosen)


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
    states = [TrialState.COMPLETE] * 3 + [TrialState.PRUNED, TrialState.COMPLETE, TrialState.RUNNING]
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
