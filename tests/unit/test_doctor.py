"""The doctor finds what is broken, says how to mend it, and stays calm about the rest."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from manta import doctor


@pytest.fixture
def listening() -> Iterator[int]:
    """A local port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent() -> int:
    """A local port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def test_this_machine_can_run_manta(tmp_path: Path) -> None:
    found = {check.name: check for check in doctor.checks(tmp_path / "manta-runs")}
    must = (
        "source tree",
        "Python",
        "torch",
        "timm",
        "Ray",
        "MLflow",
        "Optuna",
        "tracking store",
        "Ray session",
    )
    assert {name: found[name].found for name in must if found[name].status != "ok"} == {}
    assert len(found) == 19
    assert not (tmp_path / "manta-runs").exists(), "the doctor only looks"


def test_what_is_not_well_comes_with_its_mending() -> None:
    for check in doctor.checks():
        assert bool(check.mend) == (check.status != "ok"), check
        assert "\n" not in check.mend + check.found


def test_runs_in_a_bucket_do_not_confuse_the_disk() -> None:
    assert "cannot be looked at" not in " ".join(
        check.found for check in doctor.checks("s3://bucket/runs")
    )


def test_stray_init_is_found(tmp_path: Path) -> None:
    (tmp_path / "platform" / "manta").mkdir(parents=True)
    assert doctor.source_tree(tmp_path / "platform" / "manta").status == "ok"
    stray = tmp_path / "platform" / "__init__.py"
    stray.touch()
    check = doctor.source_tree(tmp_path / "platform" / "manta")
    assert (check.status, check.mend) == ("bad", f"rm {stray}")


@pytest.mark.parametrize(
    ("name", "wanted", "status"),
    [("timm", ">=99", "bad"), ("timm", ">=1", "ok"), ("no-such-thing", ">=1", "bad")],
)
def test_package_versions(name: str, wanted: str, status: str) -> None:
    check = doctor.package(name, wanted)
    assert check.status == status
    assert status == "ok" or check.mend == f"pip install '{name}{wanted}'"


def test_a_look_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> doctor.Check:
        raise OSError("no such device")

    monkeypatch.setattr(doctor, "cores", broken)
    found = {check.name: check for check in doctor.checks(tmp_path)}
    assert found["cores"].status == "bad"
    assert "no such device" in found["cores"].found
    assert found["memory"].found


def test_tracking_server_that_answers(
    monkeypatch: pytest.MonkeyPatch, listening: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{listening}")
    check = doctor.tracking(tmp_path)
    assert check.status == "ok"
    assert "secret" not in check.found


def test_tracking_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, silent: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{silent}")
    check = doctor.tracking(tmp_path)
    assert check.status == "bad"
    assert f"127.0.0.1:{silent}" in check.mend
    assert "secret" not in check.found + check.mend


def test_file_store_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    check = doctor.tracking(tmp_path)
    assert check.status == "bad"
    assert f"sqlite:///{tmp_path / 'mlflow.db'}" in check.mend


def test_sqlite_store(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert "made by the first run" in doctor.tracking(tmp_path).found
    assert not path.exists()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (id)")
    connection.commit()
    connection.close()
    check = doctor.tracking(tmp_path)
    assert (check.status, check.found) == ("ok", f"sqlite:///{path}, 1 tables")


def test_sqlite_store_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"this is not a database, but a text" * 50)
    check = doctor.tracking(tmp_path)
    assert check.status == "bad"
    assert check.mend == f"move it away: mv {path} {path}.broken"


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_ray_address(
    monkeypatch: pytest.MonkeyPatch, listening: int, silent: int, form: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", form.format(listening))
    assert doctor.ray_session().status == "ok"
    monkeypatch.setenv("RAY_ADDRESS", form.format(silent))
    check = doctor.ray_session()
    assert check.status == "bad"
    assert check.mend == "unset RAY_ADDRESS, or start that cluster"


def test_leftover_of_a_dead_cluster(tmp_path: Path, listening: int, silent: int) -> None:
    assert doctor.ray_session().found == "no cluster runs here"
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text(f"127.0.0.1:{listening}")
    assert doctor.ray_session().status == "ok"
    note.write_text(f"127.0.0.1:{silent}")
    check = doctor.ray_session()
    assert (check.status, check.mend) == ("warn", f"rm {note}")


def test_automatic_address_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert doctor.ray_session().status == "bad"


def test_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    assert str(tmp_path) in doctor.disk(tmp_path / "not" / "yet").found
