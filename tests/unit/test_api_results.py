"""What results say of a run, a study and the rest, without any of them being made."""

from __future__ import annotations

import json
import os
import re
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import manta
from manta.api.display import as_html, as_text, metric_table
from manta.errors import DataError, RunError
from manta.files import Place
from manta.serving._parts import EmbeddedRows, part_name, write_part
from synthetic_run import STEPS, make_run
from synthetic_study import make_study


@pytest.fixture
def run(tmp_path: Path) -> manta.Run:
    return manta.Run.open("first", runs=make_run(tmp_path / "first").parent)


def test_a_run_is_found_by_name_and_by_folder(run, tmp_path):
    assert (run.name, run.status) == ("first", "finished")
    assert manta.Run.open(tmp_path / "first") == run
    assert os.fspath(run) == run.folder == str(tmp_path / "first")
    assert run.page == f"{run.folder}/report.html"
    assert {run: 1}[manta.Run.open(run)] == 1
    with pytest.raises(RunError, match=r"no run named 'second' in .*; runs here: first \(finished"):
        manta.Run.open("second", runs=tmp_path)


def test_a_run_has_its_final_metrics(run):
    assert run.metrics["knn_top1"] == 0.9441
    assert run.metrics["random_knn_top1"] == 0.7321
    assert run.model_uri == "models:/manta-dcl-resnet10t@candidate"


def test_curves_are_a_table_of_steps_and_metrics(run):
    curves = run.curves
    assert curves.index.name == "step"
    assert len(curves) == STEPS
    assert curves["loss"].iloc[0] > curves["loss"].iloc[-1]
    assert curves["knn_top1"].notna().sum() == STEPS // 26
    assert all(kind == np.float64 for kind in curves.dtypes)


def test_a_run_under_way_has_no_metrics_yet(tmp_path):
    run = manta.Run.open(make_run(tmp_path / "now", status="running"))
    assert (run.status, run.metrics, run.model_uri) == ("running", {}, None)
    assert "report.html" not in repr(run)
    assert run.curves["loss"].notna().all()


def test_a_run_shows_itself(run):
    lines = repr(run).splitlines()
    assert lines[0] == "Run 'first', finished"
    assert "  knn_top1     0.9441 (untrained 0.7321)" in lines
    html = run._repr_html_()
    assert f"<a href='{run.page}'" in html
    assert "<td>0.7321</td>" in html


def test_the_link_to_a_page_is_a_url_of_its_path(tmp_path):
    run = manta.Run.open(make_run(tmp_path / "q?b#c%20 [x]'s" / "first"))
    html = run._repr_html_()
    (link,) = re.findall(r"<a href='([^']*)'", html)
    assert unquote(unescape(link)) == run.page
    assert not set("?# ") & set(unescape(link))
    assert escape(run.page) in html


def test_a_run_of_an_undefined_objective_says_what_to_define(run):
    path = Path(run.folder, "experiment.yaml")
    path.write_text(path.read_text().replace("name: dcl", "name: mine"))
    with pytest.raises(RunError) as refused:
        _ = run.experiment
    assert str(refused.value) == (
        "run 'first' has the objective 'mine', which is not defined in this process; first run the"
        " code that has `@manta.objective('mine')`, or install its package"
    )


def test_a_study_has_a_best_trial_and_a_table(tmp_path):
    _, record = make_study(trials=8)
    study = manta.Study("s", str(tmp_path / "s"), record, {"best": 1})
    best = max(record.complete, key=lambda trial: trial.value)
    assert study.best == best
    assert study.metrics["knn_top1"] == best.value
    assert len(study.table) == len(record.trials)
    assert study.table.loc[best.number, "value"] == best.value
    assert study.table.loc[0, "default"]
    assert "params/objective.temperature" in study.table
    assert (study.page, study.recipe) == (f"{study.folder}/study.html", f"{study.folder}/best.yaml")
    assert f"{best.value:.4g} in trial {best.number}" in repr(study)
    assert "<table" in study._repr_html_()


def test_a_study_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(RunError, match="no study named 'x'"):
        manta.Study.open("x", runs=tmp_path)


FOUND = {
    "name": "first at step 9",
    "data": "digits",
    "metrics": {"knn_top1": 0.9, "random_knn_top1": 0.5, "rankme": 20.0, "random_rankme": 5.0},
    "intervals": {"knn_top1": [0.85, 0.95], "random_knn_top1": [0.4, 0.6]},
    "skipped": {"segmentation": "needs masks"},
    "note": "probes learn from 9 rows of digits and are scored on the other 1",
}


def test_an_evaluation_is_read_back(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps(FOUND))
    evaluation = manta.Evaluation.open(tmp_path)
    assert evaluation.page == str(tmp_path / "evaluation.html")
    assert evaluation.table.loc["knn_top1"].tolist() == [0.9, 0.85, 0.95, 0.5]
    assert np.isnan(evaluation.table.loc["rankme", "low"])
    assert "segmentation did not run: it needs masks" in repr(evaluation)
    assert "scored on the other 1" in evaluation._repr_html_()
    with pytest.raises(RunError, match="holds no evaluation"):
        manta.Evaluation.open(tmp_path / "none")


def test_a_comparison_has_a_column_a_model_and_gains():
    found = {
        "models": ["a", "b"],
        "data": "digits",
        "metrics": {"a": {"knn_top1": 0.5}, "b": {"knn_top1": 0.75}},
        "intervals": {"a": {}, "b": {}},
        "gains": {"b": {"knn_top1": {"gain": 0.25, "low": 0.1, "high": 0.4}}},
    }
    comparison = manta.Comparison.of(found)
    assert comparison.table.loc["knn_top1"].to_dict() == {"a": 0.5, "b": 0.75}
    assert comparison.gain_table.loc[("b", "knn_top1"), "low"] == 0.1
    assert "knn_top1 0.75" in repr(comparison)
    assert "0.25" in comparison._repr_html_()


def test_embeddings_are_an_array_and_a_table(tmp_path):
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    place = Place.of(tmp_path)
    for number, rows in enumerate((slice(0, 3), slice(3, 4))):
        index = np.arange(4)[rows]
        batch = EmbeddedRows(index, [f"{row}.png" for row in index], vectors[rows], [])
        write_part(place / part_name(number), 3, [batch])
    facts = {"embedded": 4, "width": 3, "unreadable": 1, "model": "first"}
    (tmp_path / "_manifest.json").write_text(json.dumps(facts))
    embeddings = manta.Embeddings.open(tmp_path)
    assert embeddings.array().dtype == np.float32
    assert embeddings.array().tolist() == vectors.tolist()
    assert embeddings.table["path"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert "4 of 3 numbers" in repr(embeddings)
    assert "_unreadable.parquet" in embeddings._repr_html_()
    with pytest.raises(DataError, match="holds no finished embeddings"):
        manta.Embeddings.open(tmp_path / "none")


def test_a_promotion_has_the_evidence_and_a_sentence():
    evidence = {
        "model": "m",
        "alias": "champion",
        "metric": "knn_top1",
        "challenger": "2",
        "accuracy": 0.9,
        "champion": "1",
        "champion_accuracy": 0.8,
        "gain": 0.1,
        "low": 0.05,
        "high": 0.15,
        "queries": 100,
    }
    promotion = manta.Promotion.of("version 2 gets @champion", evidence)
    assert promotion.metrics == {"knn_top1": 0.9}
    assert promotion.summary["queries"] == 100
    assert "+0.1000" in repr(promotion)
    assert "version 2 gets @champion" in promotion._repr_html_()


def test_an_export_is_what_was_written(tmp_path):
    export = manta.Export("first", str(tmp_path), "timm", 1e-7, 1e-4)
    assert os.fspath(export) == str(tmp_path)
    assert "1e-07 at most (allowed 0.0001)" in repr(export)
    assert "timm" in export._repr_html_()


def test_lists_have_names_rows_and_a_table():
    objectives = manta.list_objectives()
    assert "simclr" in objectives
    assert objectives["simclr"]["family"] == "contrastive"
    assert objectives.names == sorted(objectives.names)
    assert len(objectives.table) == len(objectives) > 30
    assert "A Simple Framework" in repr(objectives)
    assert "<table" in objectives._repr_html_()
    assert {row["name"] for row in manta.list_recipes()} >= {"digits"}
    for kind in (manta.list_evaluators, manta.list_schedules, manta.list_sources):
        assert all(row["about"] for row in kind())
    assert "temperature" in manta.list_spaces()
    with pytest.raises(KeyError):
        objectives["nonsense"]


def test_a_description_has_a_row_a_setting():
    described = manta.describe("objective", "dcl")
    assert described.table.loc["objective.temperature", "type"].startswith("float")
    assert "objective.temperature" in repr(described)
    assert "Decoupled Contrastive Learning" in described._repr_html_()
    assert "study.metric" in manta.describe("section", "study").table.index


def test_text_and_html_leave_out_what_is_not_there_and_escape():
    rows = [("a", 1), ("b", None), ("c", "<x>")]
    assert as_text("T", rows) == "T\n  a            1\n  c            <x>"
    html = as_html("T", rows, [pd.DataFrame({"n": [0.123456]})])
    assert "&lt;x&gt;" in html
    assert "<x>" not in html
    assert "0.1235" in html


def test_a_table_of_metrics_without_intervals_has_two_columns():
    table = metric_table({"loss": 1.0, "random_loss": 2.0, "rankme": 3.0})
    assert list(table.columns) == ["trained", "untrained"]
    assert np.isnan(table.loc["rankme", "untrained"])


def test_a_finished_run_that_was_moved_is_where_it_is_now(tmp_path):
    summary = {"name": "first", "metrics": {}, "report": "/where/it/was/first/report.html"}
    run = manta.Run.of_summary(summary, f"{tmp_path}/")
    assert (run.folder, run.status) == (str(tmp_path / "first"), "finished")
    assert run.page == str(tmp_path / "first" / "report.html")
