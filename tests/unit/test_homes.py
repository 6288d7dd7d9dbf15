"""Users without a name, a home or a place of their own; proxies; folders for Ray's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manta import doctor, homes, proxies, ray_folder
from manta.errors import ResourceError

NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME")
IDENTITY = """
import os
from manta.homes import prepare_home
prepare_home()
import getpass
from pathlib import Path
import matplotlib
print(getpass.getuser(), Path.home(), os.access(matplotlib.get_configdir(), os.W_OK))
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set here is unset afterwards."""
    for name in (*homes.CACHES, *NAMES, "HOME", "no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)


@pytest.mark.parametrize("home", ["/nonexistent", None])
def test_caches_are_temporary_without_a_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    monkeypatch.setenv("HOME", home or "")
    monkeypatch.setattr(homes.tempfile, "tempdir", str(tmp_path))
    homes.prepare_home()
    scratch = tmp_path / f"manta-home-{os.getuid()}"
    assert os.environ["HOME"] == str(scratch)
    assert {name: os.environ[name] for name in homes.CACHES} == {
        name: str(scratch / folder) for name, folder in homes.CACHES.items()
    }
    assert scratch.stat().st_mode & 0o777 == 0o700


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("HF_HOME", "/weights")
    monkeypatch.setattr(homes.tempfile, "tempdir", str(tmp_path))
    homes.prepare_home()
    assert os.environ["HF_HOME"] == "/weights"


def test_a_home_that_is_fine_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "ada")
    homes.prepare_home()
    assert os.environ["HOME"] == str(tmp_path)
    assert not set(homes.CACHES) & set(os.environ)
    assert list(tmp_path.iterdir()) == []


def test_downloaded_weights_in_a_read_only_home_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home/.cache/huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(homes.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(homes.os, "access", lambda path, mode: "manta-home" in str(path))
    homes.prepare_home()
    assert "HF_HOME" not in os.environ
    assert os.environ["MPLCONFIGDIR"].startswith(f"{tmp_path}/manta-home-")


def test_a_user_id_without_a_name(tmp_path: Path) -> None:
    words = ["unshare", "--user", "--map-user=54321", sys.executable, "-c", IDENTITY]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(f"no other user id can be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["uid-54321", f"{tmp_path}/manta-home-54321", "True"]


@pytest.mark.parametrize(
    ("stated", "after"),
    [
        ("", {"localhost", "127.0.0.1", "::1"}),
        ("example.org", {"example.org", "localhost", "127.0.0.1", "::1"}),
        ("*", {"*"}),
    ],
)
def test_this_machine_is_reached_without_the_proxy(
    monkeypatch: pytest.MonkeyPatch, stated: str, after: set[str]
) -> None:
    from requests.utils import should_bypass_proxies

    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", stated)
    proxies.bypass_proxies()
    assert after <= set(os.environ["no_proxy"].split(","))
    for url in ("http://localhost:5000", "http://127.0.0.1:8265/api"):
        assert should_bypass_proxies(url, no_proxy=None)
    assert should_bypass_proxies("http://tracking.example.com", no_proxy=None) == (stated == "*")


def test_without_a_proxy_nothing_is_set() -> None:
    proxies.bypass_proxies()
    assert "no_proxy" not in os.environ


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_long_temporary_folder_is_not_ray_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 20)))
    folder, reason = ray_folder.choose_ray_folder()
    assert folder in {f"{above}/ray-{os.getuid()}" for above in ("/tmp", "/var/tmp", "/dev/shm")}
    assert "is too long a path for Ray's sockets (at most " in reason


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (1, False)])
def test_the_longest_path_of_a_socket(spare: int, fits: bool) -> None:
    session = "/session_2026-11-30_01-38-15_152000_1234567/sockets/plasma_store"
    folder = "/" + "x" * (107 - len(session) - 1 + spare)
    assert ("too long" not in ray_folder.unfit(folder)) == fits
    assert (len(folder + session) <= 107) == fits


def test_the_usual_folder_is_kept_where_it_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setattr(ray_folder, "unfit", lambda _folder, own=False: "")
    assert ray_folder.choose_ray_folder() == ("/tmp/ray", "")


def test_a_file_where_the_folder_would_be(temporary: Path) -> None:
    (temporary / "ray").write_text("")
    if len(str(temporary)) <= 43:
        assert ray_folder.unfit(str(temporary / "ray")) == "is a file and not a folder"
    assert ray_folder.choose_ray_folder()[0] != str(temporary / "ray")


def test_another_user_s_folder_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder.os, "access", lambda path, mode: not path.startswith("/tmp"))
    folder, reason = "/tmp/ray", ray_folder.unfit("/tmp/ray")
    assert reason.startswith("cannot be written (of "), folder


def test_no_folder_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder, "unfit", lambda _folder, own=False: "cannot be written")
    with pytest.raises(ResourceError, match="set RAY_TMPDIR to a short path"):
        ray_folder.choose_ray_folder()
    check = doctor.temporary_folder()
    assert (check.status, check.mend) == ("bad", "set TMPDIR to a short path that can be written")


def test_a_store_for_little_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = {str(tmp_path / "shm"): 64 << 20, str(tmp_path): 1 << 30}
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(ray_folder, "free_bytes", free.__getitem__)
    size = ray_folder.small_store(str(tmp_path), str(tmp_path / "shm"))
    assert size == 1 << 29, "half of what the other disk has"
    free[str(tmp_path / "shm")] = 8 << 30
    assert ray_folder.small_store(str(tmp_path), str(tmp_path / "shm")) is None


def test_the_doctor_sees_limits_and_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    assert doctor.home().status == "warn"
    assert "set HOME" in doctor.home().mend
    monkeypatch.setattr(doctor.user, "_limit", lambda _kind: 256)
    check = doctor.limits()
    assert check.status == "warn"
    assert check.mend == "raise them: ulimit -n 65536; ulimit -u 4096; ulimit -f unlimited"
