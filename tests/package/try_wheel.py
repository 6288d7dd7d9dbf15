"""Install a wheel into an empty environment outside the repository and work with it there.

    python tests/package/try_wheel.py dist/manta_ssl-0.1.0-py3-none-any.whl

Only what the wheel declares is installed, at the versions of requirements.lock: a dependency that
is not declared fails here. `make package` calls it; it takes a few minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "data.limit=300",
    "data.image_size=16",
    "train.epochs=2",
    "evaluation.evaluators=[{name: knn, k: 5}]",
]


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="manta-wheel-") as place:
        folder = Path(place)
        commands = install(wheel.resolve(), folder / "venv")
        try_commands(commands, folder / "work")
    print(f"{wheel.name} works from outside the repository")


def install(wheel: Path, environment: Path) -> Path:
    """Make the environment and return its folder of commands."""
    venv.create(environment, with_pip=True)
    commands = environment / "bin"
    step(
        *(commands / "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--constraint", ROOT / "requirements.lock", f"{wheel}[onnx]"),
        folder=environment,
    )
    step(commands / "pip", "check", folder=environment)
    return commands


def try_commands(commands: Path, folder: Path) -> None:
    """List, train, tune and export in an empty folder, and look at what came out."""
    folder.mkdir()
    manta = commands / "manta"
    where = "import manta; print(manta.__file__)"
    location = step(commands / "python", "-c", where, folder=folder)
    assert "site-packages" in location, location
    typed = Path(location.strip()).parent / "py.typed"
    assert typed.is_file(), typed

    recipes = step(manta, "list", "recipes", folder=folder)
    assert "digits" in recipes, recipes
    assert "temperature" in step(manta, "list", "spaces", folder=folder)
    assert "not installed: s3" in step(manta, "doctor", folder=folder)

    step(manta, "train", "digits", "--name", "first", *SMALL, folder=folder)
    assert (folder / "manta-runs/first/report.html").stat().st_size > 50_000

    step(
        *(manta, "tune", "temperature", "--recipe", "digits", "--name", "search"),
        *("study.trials=2", "study.scheduler.max=1", *SMALL),
        folder=folder,
    )
    assert (folder / "manta-runs/search/best.yaml").is_file()

    step(manta, "export", "first", "encoder.onnx", "--format", "onnx", folder=folder)
    assert (folder / "encoder.onnx").stat().st_size > 1_000_000


def step(*words: str | Path, folder: Path) -> str:
    """Run a command with a clean environment and return its output; stop at a failure."""
    print("$", *(str(word) for word in words), flush=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=kept | {"COLUMNS": "200", "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"status {done.returncode}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
