"""A run's curves, as its page and its PNGs draw them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manta.report import write_plots
from manta.report.run.curves import curve_groups
from manta.report.run.panels import panels, smoothed, thin
from manta.report.run.plots import curves_figure
from manta.report.run.record import read
from synthetic_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "digits-dcl")


def test_plots_are_pictures_and_leave_pyplot_alone(run: Path) -> None:
    import matplotlib.pyplot as plt

    written = write_plots(run)
    names = ["loss", "evaluation", "features", "schedules", "throughput", "embedding", "views"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    assert {path.parent for path in written} == {run / "plots"}
    for path in written:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 5, path
    assert plt.get_fignums() == []


def test_baseline_stands_in_the_evaluation_plot(run: Path) -> None:
    (panel,) = panels(read(run))["evaluation"]
    assert [line.metric for line in panel.lines] == ["knn_top1", "linear_top1"]
    assert [line.untrained for line in panel.lines] == [0.7321, 0.8212]
    axes = curves_figure([panel]).axes[0]
    level = {
        round(float(np.asarray(line.get_ydata())[0]), 4)
        for line in axes.lines
        if len(np.asarray(line.get_xdata())) == 2
    }
    assert level == {0.7321, 0.8212}


def test_baseline_stands_in_the_page(run: Path) -> None:
    groups = {group.summary.partition(":")[0]: group for group in curve_groups(read(run))}
    (accuracy,) = groups["Evaluation during training"].charts
    dashed = [trace for trace in accuracy.figure.data if trace.line.dash == "dash"]
    assert [trace.name for trace in dashed] == [
        "untrained",
        "kNN top-1, untrained 0.732",
        "Linear probe, untrained 0.821",
    ]
    assert list(dashed[1].y) == [0.7321, 0.7321]
    rank = groups["Health of the features"].charts[0].figure
    assert [note.text for note in rank.layout.annotations] == ["untrained 11.2"]


def test_last_record_of_a_step_wins_and_half_a_line_is_nothing(tmp_path: Path) -> None:
    lines = [
        {"step": 0, "time": 100.0, "metrics": {"loss": 3.0}},
        {"step": 10, "time": 110.0, "metrics": {"loss": 2.0, "lr": 0.1}},
        {"step": 20, "time": 120.0, "metrics": {"loss": 1.0}},
        {"step": 10, "time": 5000.0, "metrics": {"loss": 2.5}},  # resumed, more than an hour later
        {"step": 20, "time": 5010.0, "metrics": {"loss": float("nan")}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 30, "time": 5020.0, "metr'
    (tmp_path / "metrics.jsonl").write_text(text)
    found = read(tmp_path)
    assert found.curves["loss"].steps.tolist() == [0, 10, 20]
    assert found.curves["loss"].values[:2].tolist() == [3.0, 2.5]
    assert np.isnan(found.curves["loss"].values[2])
    assert found.curves["lr"].steps.tolist() == [10]
    assert found.seconds == 30.0


def test_thinning_keeps_the_mean_and_the_last_step() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    steps, thinned = thin(np.arange(4000), values, most=400)
    assert len(steps) == 400
    assert steps[-1] == 3999
    assert thinned.mean() == pytest.approx(values.mean())
    assert thinned[0] == pytest.approx(values[:10].mean())
    few, same = thin(np.arange(3), np.array([1.0, np.nan, 3.0]))
    assert (few.tolist(), same.tolist()) == ([0, 2], [1.0, 3.0])


def test_smoothing_does_not_lag() -> None:
    line = np.linspace(0.0, 1.0, 101)
    smooth = smoothed(line, span=0.09)
    assert smooth[50] == pytest.approx(0.5)
    assert smoothed(np.full(50, 2.0)) == pytest.approx(np.full(50, 2.0))
