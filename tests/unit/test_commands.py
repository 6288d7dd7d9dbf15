"""Commands as a thin layer: what each hands to the API, prints and writes for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import manta
from manta.cli import app
from manta.errors import ConfigError
from manta.printing import out
from manta.tracking import RegisteredModel
from synthetic_study import make_study


@dataclass
class Call:
    """What an act was called with."""

    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def command(monkeypatch, tmp_path, capfd) -> Callable[..., tuple[Call, str, Any]]:
    """Runs `manta ACT ...` with the act replaced by one that returns `result`; gives its call, what
    was printed, and the summary."""

    def run(act: str, result: Any, *words: str) -> tuple[Call, str, Any]:
        call = Call()

        def recorded(*arguments: Any, **options: Any) -> Any:
            call.arguments, call.options = arguments, options
            return result

        monkeypatch.setattr(manta, act, recorded)
        monkeypatch.setattr(out, "_width", 200)
        summary = tmp_path / "summary.json"
        app([*words, "--summary", str(summary)], standalone_mode=False)
        return call, capfd.readouterr().out, json.loads(summary.read_text())

    return run


def test_ingest(command):
    lines = ("1,200 images, no labels", "2 set aside: 2 [not] an image")
    dataset = manta.IngestedDataset("/d", 1200, 2, 3, "abcdef0123456789", 1.5, 0, lines)
    words = ["ingest", "photos", "photos.manta", "--max-side", "0", "--split", "all"]
    call, printed, summary = command("ingest", dataset, *words)
    options = {"split": "all", "column": None, "labels": None, "group": None}
    options |= {"modality": None, "max_side": 0, "overrides": ()}
    assert call == Call(("photos", "photos.manta"), options)
    assert printed.splitlines() == [
        *lines,
        "written in 3 shards to photos.manta (digest abcdef012345)",
        "what was set aside: photos.manta/quarantine.parquet",
    ]
    assert (summary["location"], summary["rows"], summary["resumed_rows"]) == ("/d", 1200, 0)


def test_a_dry_run_of_ingest_says_what_it_would_make(command):
    lines = ["3 images, 2 classes (a 1, b 2)", "read train, left out test: data.split chooses"]
    call, printed, summary = command("survey", lines, "ingest", "photos", "out", "--dry-run")
    options = {"split": None, "column": None, "labels": None, "group": None, "modality": None}
    assert call == Call(("photos",), options | {"overrides": ()})
    assert printed.splitlines() == lines
    assert summary == {"understood": lines}


SUMMARY = {
    "name": "a",
    "metrics": {"knn_top1": 0.75, "random_knn_top1": 0.5},
    "images_per_second": 99.6,
    "checkpoint": "/r/a/checkpoints/step-00000010",
    "model_uri": None,
    "report": "/r/a/report.html",
}


def test_train(command):
    words = ["train", "digits", "train.epochs=3", "--name", "a", "--resume", "--runs", "r"]
    call, printed, summary = command("train", manta.Run.of_summary(SUMMARY, "/r"), *words)
    started = call.options.pop("started")
    expected = {"name": "a", "runs": "r", "resume": True, "overrides": ["train.epochs=3"]}
    assert call == Call(("digits",), expected)
    assert started > 1.7e9
    assert "report      /r/a/report.html" in printed
    assert "images/s    100" in printed
    assert summary == SUMMARY


def test_a_dry_run_prints_the_whole_configuration_and_starts_nothing(command):
    plan = {"steps": 10, "rows": None}
    call, printed, summary = command("estimate", plan, "train", "digits", "--dry-run")
    assert call.options == {"runs": "manta-runs"}
    assert call.arguments[0] == manta.load_recipe("digits")
    assert "# steps: 10" in printed
    assert "# rows: known once the source is ingested (manta ingest)" in printed
    assert manta.load_recipe("digits").to_yaml() in printed
    assert summary == plan


def a_study(folder: Path) -> manta.Study:
    _, record = make_study(trials=4)
    facts = {"name": record.name, "importances": {}, "kendall": {}, "trials": 4}
    return manta.Study("s", str(folder), record, facts)


def test_tune(command, tmp_path):
    words = ["tune", "temperature", "--recipe", "digits", "study.metric=rankme", "--trials", "4"]
    call, printed, summary = command("tune", a_study(tmp_path), *words)
    options = {"name": None, "runs": "manta-runs", "resume": False, "trials": 4}
    expected = {**options, "overrides": ["study.metric=rankme"]}
    assert call == Call(("temperature", "digits"), expected)
    assert f"page        {tmp_path}/study.html" in printed
    assert f"next        manta train {tmp_path}/best.yaml" in printed
    assert summary["trials"] == 4


def test_tune_and_register(command, tmp_path, monkeypatch):
    run = manta.Run.of_summary(SUMMARY, "/r")
    monkeypatch.setattr(manta.Study, "train_best", lambda _study: run)
    words = ["tune", "temperature", "--recipe", "digits", "--register"]
    _, printed, summary = command("tune", a_study(tmp_path), *words)
    assert summary["registered"] == SUMMARY
    assert "report      /r/a/report.html" in printed
    assert "next " not in printed


def test_evaluate(command):
    found = {
        "name": "a",
        "data": "digits",
        "page": "/e/evaluation.html",
        "note": "9 rows",
        "metrics": {"knn_top1": 0.75},
        "intervals": {"knn_top1": [0.7, 0.8]},
        "skipped": {"size": "needs labels"},
    }
    words = ["evaluate", "a", "--data", "d", "--evaluators", "knn, size", "--mean", "0.5,0.4,0.3"]
    call, printed, summary = command("evaluate", manta.Evaluation.of(found), *words)
    assert call.arguments == ("a", "d")
    assert call.options["evaluators"] == ["knn", "size"]
    assert call.options["mean"] == (0.5, 0.4, 0.3)
    assert call.options["bank"] is call.options["size"] is call.options["out"] is None
    assert "0.700-0.800" in printed
    assert "size was passed over: it needs labels" in printed
    assert "page        /e/evaluation.html" in printed
    assert summary == found


def test_three_numbers_are_wanted():
    words = ["evaluate", "a", "--data", "d", "--std", "0.5;0.4"]
    with pytest.raises(ConfigError, match=r"--std takes three numbers, .*; not '0.5;0.4'"):
        app(words, standalone_mode=False)


def test_compare(command):
    found = {
        "models": ["a", "b"],
        "data": "d",
        "query_rows": 10,
        "bank_rows": 90,
        "metrics": {"a": {"knn_top1": 0.5}, "b": {"knn_top1": 0.75}},
        "intervals": {"a": {}, "b": {}},
        "gains": {"b": {"knn_top1": {"gain": 0.25, "low": 0.1, "high": 0.4}}},
    }
    words = ["compare", "a", "b", "--data", "d", "--bank", "e"]
    call, printed, summary = command("compare", manta.Comparison.of(found), *words)
    assert call.arguments == (["a", "b"], "d")
    assert call.options["evaluators"] == ["knn", "linear", "rank"]
    assert call.options["bank"] == "e"
    assert "b against a: knn_top1 +0.2500 [+0.1000, +0.4000], better" in printed
    assert summary == found


def test_register(command):
    version = RegisteredModel("m", "3", "models:/m@candidate")
    call, printed, summary = command("register", version, "register", "a", "--name", "m")
    assert call == Call(("a", "m"), {"runs": "manta-runs"})
    assert printed == "version 3 of m: models:/m@candidate\n"
    assert summary == {"name": "m", "version": "3", "uri": "models:/m@candidate"}


def test_promote(command):
    evidence = {
        "model": "m",
        "alias": "champion",
        "metric": "knn_top1",
        "challenger": "2",
        "accuracy": 0.9,
        "champion": None,
        "champion_accuracy": None,
        "gain": None,
        "low": 0.8,
        "high": 0.95,
    }
    promotion = manta.Promotion.of("version 2 gets @champion", evidence)
    words = ["promote", "m", "--data", "d", "--min-gain", "0.5"]
    call, printed, summary = command("promote", promotion, *words)
    assert call.arguments == ("m", "d")
    assert call.options["min_gain"] == 0.5
    assert call.options["challenger"] == "candidate"
    assert printed == "version 2 gets @champion\n"
    assert summary == evidence


def test_export(command):
    export = manta.Export("a", "/e.onnx", "onnx", 2e-6, 1e-4)
    words = ["export", "a", "e.onnx", "--format", "onnx"]
    call, printed, summary = command("export", export, *words)
    assert call.options == {"format": "onnx", "heads": False, "runs": "manta-runs"}
    assert printed == "/e.onnx: differs from the source by 2e-06 at most (allowed 0.0001)\n"
    assert set(summary) == {"model", "path", "format", "error", "tolerance"}


def test_embed(command):
    embeddings = manta.Embeddings("/e.parquet", 1500, 64, 1, 1500, {"model": "a"})
    words = ["embed", "a", "--data", "d", "--out", "e.parquet", "--max-actors", "3"]
    call, printed, summary = command("embed", embeddings, *words)
    assert call.arguments == ("a", "d", "e.parquet")
    assert call.options["max_actors"] == 3
    assert call.options["precision"] == "float32"
    assert printed.splitlines() == [
        "1,500 rows of 64 numbers at /e.parquet; 1 set aside in _unreadable.parquet",
        "next        manta explore e.parquet",
    ]
    assert (summary["out"], summary["embedded_now"]) == ("/e.parquet", 1500)


def test_list_and_doctor_print_json(capfd):
    app(["list", "recipes", "--json"], standalone_mode=False)
    names = [row["name"] for row in json.loads(capfd.readouterr().out)]
    assert names == manta.list_recipes().names
