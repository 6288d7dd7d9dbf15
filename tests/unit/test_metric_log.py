"""metrics.jsonl: what is written is read again, whatever a killed process left in between."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from manta.bars import describe_metrics, noun_of_run, read_new_metrics
from manta.metric_log import append, read_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    with path.open("ab") as file:
        append(file, 1, {"loss": 2.5, "system/cpu": 0.5})
        append(file, 2, {"loss": math.nan, "grad": math.inf})
        append(file, 2, {"system/cpu": 0.75})
    return path


def test_records_are_read_as_written(path: Path) -> None:
    first, second, third = read_metrics(path)
    assert (first.step, first.metrics) == (1, {"loss": 2.5, "system/cpu": 0.5})
    assert math.isnan(second.metrics["loss"])
    assert second.metrics["grad"] == math.inf
    assert [record.of_training for record in (first, second, third)] == [True, True, False]
    assert third.end == path.stat().st_size
    assert first.time <= second.time <= third.time


def test_every_line_is_json_for_any_reader(path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert lines[1]["metrics"] == {"loss": "nan", "grad": "inf"}


def test_reading_goes_on_where_it_stopped(path: Path) -> None:
    first, second, third = read_metrics(path)
    assert list(read_metrics(path, offset=second.end)) == [third]
    assert [record.end for record in read_metrics(path, limit=1)] == [first.end]
    with path.open("ab") as file:
        file.write(b'{"step": 3, "time": 0, "met')
    assert len(list(read_metrics(path))) == 3, "a line that is still being written is left"
    with path.open("ab") as file:
        file.write(b"\n")
        append(file, 4, {"loss": 1.0})
    assert [record.step for record in read_metrics(path)] == [1, 2, 2, 4], "a torn one is passed"


@pytest.mark.parametrize(
    "line",
    ["[]", "3", "{}", '{"step": 1}', '{"step": "x", "time": 0, "metrics": {}}', "\xff"],
)
def test_lines_of_another_kind_are_passed_over(path: Path, line: str) -> None:
    path.write_bytes(line.encode("latin1") + b"\n" + path.read_bytes())
    assert [record.step for record in read_metrics(path)] == [1, 2, 2]


def test_a_bar_follows_a_growing_file(path: Path) -> None:
    shown: dict[str, float] = {}
    assert read_new_metrics(path.with_name("none.jsonl"), 0, shown) == 0
    assert shown == {}
    offset = read_new_metrics(path, 0, shown)
    assert offset == path.stat().st_size
    assert (shown["step"], shown["system/cpu"]) == (2, 0.75)
    with path.open("ab") as file:
        append(file, 3, {"loss": 0.25, "knn_top1": 0.5, "images_per_second": 812.4})
    assert read_new_metrics(path, offset, shown) == path.stat().st_size
    assert shown["step"] == 3
    assert describe_metrics(shown) == "loss 0.250  kNN 0.500  812 images/s"
    assert noun_of_run(path.parent) == "images"
    (path.parent / "experiment.yaml").write_text("data: {modality: audio}")
    assert describe_metrics(shown, noun_of_run(path.parent)).endswith("812 clips/s")


def test_a_bar_reads_a_file_that_a_resume_cut_from_its_beginning(path: Path) -> None:
    shown: dict[str, float] = {}
    offset = read_new_metrics(path, 0, shown)
    first = next(read_metrics(path))
    path.write_bytes(path.read_bytes()[: first.end])
    assert read_new_metrics(path, offset, shown) == first.end
    assert (shown["step"], shown["loss"]) == (1, 2.5)
