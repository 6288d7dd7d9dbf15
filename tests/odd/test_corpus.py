"""Every odd input through ingest, decoding and a dry run: the right result, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import manta
from manta.cli import main
from manta.data import Manifest, SourceOptions, ingest, open_dataset, survey
from manta.data.read import decode_rows, read_labels, read_rows
from manta.errors import MantaError
from manta.modalities.image import ImageDecoder
from odd.case import Case, Command, all_cases

SIZES = (8, 32, 224)
TOLERANCE = 6.0
"""Mean difference of pixels, in levels of 255: JPEG, resampling and colour conversion take some."""
LONGEST_LINE = 600

CASES: list[Case] = all_cases("CASES")
COMMANDS: list[Command] = all_cases("COMMANDS")


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    names = [case.name for case in [*CASES, *COMMANDS]]
    assert len(names) == len(set(names))
    assert len(names) >= 800


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_data(case: Case, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    location = case.make(folder)
    options = SourceOptions(**case.options)
    if case.error is not None:
        with pytest.raises(MantaError) as refused:
            ingest(location, out, options=options, executor="local")
        assert case.error in str(refused.value)
        assert_one_line(str(refused.value))
        return
    report = ingest(location, out, options=options, executor="local")
    dry = survey(location, options=options, executor="local")
    assert report.understood is not None
    assert report.understood == dry
    manifest = open_dataset(report.location)
    check_rows(case, manifest)
    text = "\n".join(dry.lines())
    for note in case.notes:
        assert note in text
    for part, rows in case.splits.items():
        assert part in dry.parts
        assert rows is None or (dry.split, dry.rows) == (part, rows)
    # Whatever ingest accepts, training decodes.
    indexes = np.arange(manifest.rows)
    data = read_rows(manifest, indexes).data
    for size in SIZES:
        decoded = decode_rows(manifest, indexes, data, ImageDecoder(size))["image"]
        assert decoded.shape == (len(data), 3, size, size)
    if manifest.rows < 2:
        return  # one image alone makes no step
    settings = {f"data.{name}": value for name, value in case.options.items()}
    plan = manta.estimate("digits", data=report.location, overrides=settings | SMALL)
    assert plan["rows"] == manifest.rows


SMALL = {"train.batch_size": 2, "evaluation.holdout": 0.0}
"""Settings with which a few rows make a step."""


def check_rows(case: Case, manifest: Manifest) -> None:
    indexes = np.arange(manifest.rows)
    listed = pq.read_table(Path(manifest.location) / "quarantine.parquet").to_pylist()
    reasons = {row["path"]: row["reason"] for row in listed}
    assert reasons.keys() == case.quarantined.keys()
    for path, reason in case.quarantined.items():
        assert reason in reasons[path]
    if case.rows is not None:
        assert manifest.rows == case.rows
    labels = read_labels(manifest, indexes)
    if case.labels != "any":
        assert labels == (None if case.labels is None else list(case.labels))
    if labels is not None:  # dense, and each with a name
        assert manifest.classes is not None
        assert set(labels) - {None} <= set(range(len(manifest.classes)))
    if case.classes != "any":
        assert manifest.classes == (None if case.classes is None else list(case.classes))
    encoded = read_rows(manifest, indexes).data
    decoded = decode_rows(manifest, indexes, encoded, ImageDecoder(32))["image"]
    for row, expected in case.pixels.items():
        picture = Image.fromarray(np.asarray(expected, dtype=np.uint8).reshape(-1, 1, 3))
        if isinstance(expected, np.ndarray):
            picture = centre_square(Image.fromarray(expected))
        wanted = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC), dtype=float)
        assert np.abs(decoded[row].transpose(1, 2, 0) - wanted).mean() <= TOLERANCE


def centre_square(image: Image.Image) -> Image.Image:
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return image.crop((left, top, left + short, top + short))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    command.make(folder)
    monkeypatch.setattr("sys.argv", ["manta", *command.words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed
    assert (ended.value.code or 0) == (2 if command.error else command.status), printed
    if command.output is not None:
        assert command.output in printed
    if command.error is not None:
        (line,) = [line for line in printed.splitlines() if "error: " in line]
        assert command.error in line
        assert_one_line(line)


def assert_one_line(text: str) -> None:
    assert "\n" not in text.strip()
    assert len(text) <= LONGEST_LINE
