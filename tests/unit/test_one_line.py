"""Whatever ends a command is one line; the whole traceback is in a file that the line names."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import OutOfDiskError, RayTaskError, UserCodeException

from manta import failures
from manta.errors import DataError, DiskFull, MantaError, ResourceError, RunError

MANTA = [sys.executable, "-m", "manta.cli"]
BROKEN = """
import sys
from manta import cli, catalogue
import manta.api.listing

def broken(kind):
    {}["no such key"]

manta.api.listing.list_kind = broken
sys.argv = ["manta", "list", "recipes"]
cli.main()
"""


def raised_in_a_task(cause: Exception, trace: str = "") -> RayTaskError:
    """What `ray.get` raises for a task that raised `cause`."""
    return RayTaskError("read", trace or f"Traceback\n{cause!r}", cause).as_instanceof_cause()


def test_a_task_s_own_error_keeps_its_line_and_has_the_trace() -> None:
    task = raised_in_a_task(DataError("photos is broken\nFailed to apply UDF transform after 1/1"))
    mine = failures.as_user_error(task)
    assert type(mine) is DataError
    assert str(mine) == "photos is broken"
    assert mine.trace
    assert "\x1b" not in mine.trace


def test_an_error_of_a_component_names_its_line(tmp_path: Path) -> None:
    code = tmp_path / "own_source.py"
    code.write_text("def read():\n    return {}['label']\n")
    trace = (
        'Traceback\n  File "/x/site-packages/ray/util.py", line 3, in f\n'
        f'  File "{code}", line 2, in read\n'
        f'  File "{os.__file__}", line 9, in get\nKeyError'
    )
    cause = KeyError("label\nFailed to apply UDF transform after 1/1 attempts (0.0s).\nTo change")
    mine = failures.as_user_error(raised_in_a_task(cause, trace), "the ingest of ./photos")
    assert type(mine) is RunError
    assert str(mine) == f"the ingest of ./photos failed: KeyError: 'label' ({code}:2)"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/"), DiskFull, "the disk is full: "),
        (OutOfDiskError("Local disk is full"), DiskFull, "set RAY_TMPDIR"),
        (RuntimeError("database or disk is full"), DiskFull, "(df -h shows which)"),
        (OSError(errno.EROFS, "Read-only", "/runs"), ResourceError, "/runs cannot be written"),
        (OSError(errno.EMFILE, "Too many open files"), ResourceError, "ulimit -n"),
        (RuntimeError("can't start new thread"), ResourceError, "ulimit -u"),
        (MemoryError(), ResourceError, "not enough memory"),
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            ResourceError,
            "set TMPDIR",
        ),
    ],
)
@pytest.mark.parametrize("in_a_task", [False, True])
def test_errors_of_the_machine(
    error: Exception, kind: type[MantaError], text: str, in_a_task: bool
) -> None:
    mine = failures.as_user_error(raised_in_a_task(error) if in_a_task else error)
    assert type(mine) is kind
    assert text in str(mine)
    assert "\n" not in str(mine)
    assert bool(mine.trace) == (in_a_task or (kind is DiskFull and "Ray's" in str(mine)))


ACTOR = """ray::MapWorker(MapBatches(Embedder)).submit() (pid=1, ip=192.0.2.2)
OSError: [Errno 28] No space left on device

The above exception was the direct cause of the following exception:

ray::MapWorker(MapBatches(Embedder)).submit() (pid=1, ip=192.0.2.2)
  File "/home/ada/own.py", line 7, in read
{first}

The above exception was the direct cause of the following exception:

ray::MapWorker(MapBatches(Embedder)).submit() (pid=1, ip=192.0.2.2)
ray.exceptions.UserCodeException: UDF failed to process a data block.
Failed to apply UDF transform after 1/1 attempts (total backoff 0.0s).
"""


@pytest.mark.parametrize(
    ("first", "kind", "text"),
    [
        ("manta.errors.DataError: row 3 is damaged", DataError, "row 3 is damaged"),
        ("KeyError: 'label'", RunError, "KeyError: 'label' (/home/ada/own.py:7)"),
        ("OSError: [Errno 28] No space left on device", DiskFull, "(df -h shows which)"),
    ],
)
def test_errors_of_actors_are_texts(first: str, kind: type[MantaError], text: str) -> None:
    """Ray Data raises another error in their place, whose causes do not outlive the process."""
    trace = ACTOR.format(first=first).partition("cause of the following exception:\n\n")[2]
    task = RayTaskError("submit", trace, UserCodeException("UDF failed")).as_instanceof_cause()
    mine = failures.as_user_error(task)
    assert type(mine) is kind
    assert text in str(mine)
    assert "\n" not in str(mine)
    assert mine.trace
    assert first in mine.trace


def test_what_nobody_foresaw_is_not_dressed_up() -> None:
    error = KeyError("x")
    assert failures.as_user_error(error) is None
    with pytest.raises(KeyError), failures.one_line_errors():
        raise error


def test_a_cause_is_found_behind_others() -> None:
    error = RuntimeError("while saving")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert type(failures.as_user_error(error)) is DiskFull
    assert failures.innermost(error) is error.__cause__


def test_traces_go_elsewhere_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(failures.tempfile, "tempdir", str(tmp_path))
    kept = failures.keep_trace("whole")
    assert kept is not None
    assert Path(kept).parent == tmp_path
    assert Path(kept).read_text() == "whole"
    monkeypatch.setattr(failures.tempfile, "tempdir", str(tmp_path / "none"))
    other = failures.keep_trace("whole")
    assert other is not None
    assert Path(other).parent != tmp_path
    Path(other).unlink()


def test_an_unforeseen_error_of_a_command(tmp_path: Path) -> None:
    code = tmp_path / "broken.py"
    code.write_text(BROKEN)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(code)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    pattern = r"unexpected: KeyError: 'no such key' \((.*):7\); the whole traceback is in (.*\.log)"
    match = re.fullmatch(pattern, line)
    assert match is not None, line
    assert match[1] == str(code)
    assert "KeyError: 'no such key'" in Path(match[2]).read_text()


@pytest.mark.parametrize(
    "settings",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "20"},
        {"TERM": "dumb"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_any_terminal_will_do(tmp_path: Path, settings: dict[str, str]) -> None:
    done = subprocess.run(
        [*MANTA, "train", "рецепт→/нет.yaml"],
        capture_output=True,
        env=os.environ | settings,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ")
    assert "/" in line


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    words = " ".join([*MANTA, "list", "objectives", "--json"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{words} | head -1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "[\n"


def test_output_may_be_closed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(MANTA)} list recipes >&-"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_warnings_of_libraries_are_not_shown(tmp_path: Path) -> None:
    code = (
        "import sys, warnings\nfrom manta import cli\ncli.prepare_streams()\n"
        "warnings.warn('old', FutureWarning)\n"
    )
    for options, shown in (([], False), (["-W", "default"], True)):
        done = subprocess.run(
            [sys.executable, *options, "-c", code], capture_output=True, text=True, check=True
        )
        assert ("FutureWarning" in done.stderr) == shown
