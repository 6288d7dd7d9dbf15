"""Clips from a source to decoded rows: folders, tables as Hugging Face writes them, plans."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manta.config import Experiment
from manta.data import SourceOptions, check_source, open_dataset, prepared
from manta.data.ingest import ingest
from manta.errors import DataError
from manta.modalities.audio import Audio, AudioConfig
from manta.runs.resumed_data import prepare_resumed
from manta.training.estimate import estimate


def wav(seconds: float, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.zeros(round(seconds * rate), "<i2").tobytes())
    return file.getvalue()


def settings(source: Path, **given: Any) -> AudioConfig:
    known = {"source": str(source), "sample_rate": 8000, "seconds": 0.31, "mels": 32, **given}
    return AudioConfig.model_validate(known)


def test_a_folder_of_wav_files_with_a_broken_one(tmp_path: Path) -> None:
    for name, seconds in (("one/a.wav", 0.2), ("one/b.wav", 0.3), ("two/c.wav", 1.5)):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(wav(seconds))
    (tmp_path / "clips/two/d.wav").write_bytes(wav(1)[:500])
    data = settings(tmp_path / "clips")
    report = ingest(data.source, tmp_path / "out", modality=Audio(data, {}), executor="local")
    manifest = open_dataset(tmp_path / "out")
    assert (report.rows, report.quarantined) == (3, 1)
    assert (manifest.modality, manifest.column, manifest.classes) == (
        "audio",
        "audio",
        ["one", "two"],
    )
    assert manifest.stats["seconds"] == {"rows": 3, "sum": 2.0, "least": 0.2, "most": 1.5}
    assert not Audio(data, manifest.stats).decoder().draws
    assert Audio(settings(tmp_path, longest=1.0), manifest.stats).decoder().draws
    quarantine = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert [row["path"] for row in quarantine] == ["two/d.wav"]
    assert "truncated" in quarantine[0]["reason"]


def test_a_table_of_clips_is_what_a_run_and_its_estimate_take(tmp_path: Path) -> None:
    rows = [{"bytes": wav(0.1 * (row + 1)), "path": f"{row}.wav"} for row in range(8)]
    table = {"audio": rows, "label": [row % 2 for row in range(8)], "speaker": list("aabbccdd")}
    pq.write_table(pa.table(table), tmp_path / "clips.parquet")
    data = settings(tmp_path / "clips.parquet", group="speaker")
    experiment = Experiment.model_validate(
        {
            "data": data.model_dump(),
            "encoder": {"name": "test_resnet"},
            "objective": {"name": "simclr"},
            "train": {"epochs": 2, "batch_size": 4},
            "evaluation": {"holdout_group": ["d"]},
        }
    )
    runs = str(tmp_path / "runs")
    assert estimate(experiment, runs)["rows"] is None
    cache, options = str(tmp_path / "cache"), SourceOptions.of(data)
    experiment = experiment.model_copy(
        update={"data": data.model_copy(update={"cache_dir": cache})}
    )
    location = prepared(data.source, cache, options=options, modality=experiment.modality())
    assert location != prepared(data.source, cache, options=options)  # that of images
    ingest(data.source, location, options=options, modality=experiment.modality(), executor="local")
    plan = estimate(experiment, runs)
    assert (plan["rows"], plan["steps"]) == (8, 2)  # steps without the clips held out
    where = (data.source, cache, {}, "run 'x'", print)
    assert prepare_resumed(*where, options=options, modality=experiment.modality()) == location


def test_what_is_said_of_clips_names_clips(tmp_path: Path) -> None:
    options = SourceOptions(modality="audio")
    with pytest.raises(DataError, match="; give a file or a folder of clips, a table of"):
        check_source(str(tmp_path / "nope"), options)
    with pytest.raises(DataError, match="; give a folder of images, Parquet, tars, a file list"):
        check_source(str(tmp_path / "nope"))
    table = pa.table({"a": [1.5], "b": [2.5]})
    pq.write_table(table, tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"has no column of clips \(columns: a, b\)"):
        ingest(
            str(tmp_path / "none.parquet"),
            str(tmp_path / "none"),
            options=options,
            executor="local",
        )
    clips = pa.table({"audio": [wav(0.5), wav(0.5), None]})
    pq.write_table(clips, tmp_path / "clips.parquet")
    counted: list[int] = []

    class Bar:
        noun = "images"

        def __call__(self, rows: int, quarantined: int) -> None:
            counted.append(rows)

    bar = Bar()
    audio = Audio(settings(tmp_path / "clips.parquet"), {})
    report = ingest(
        str(tmp_path / "clips.parquet"), str(tmp_path / "out"), options=options, modality=audio,
        progress=bar, executor="local",
    )  # fmt: skip
    assert (bar.noun, report.rows, report.quarantined) == ("clips", 2, 1)
    assert counted
    listed = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [row["reason"] for row in listed] == ["the clip column is null"]
