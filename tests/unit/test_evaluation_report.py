"""The page of `manta evaluate`: right numbers, no claim that intervals do not bear, and sense with
parts missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manta.evaluators import describe_metric
from manta.report.evaluation.figures import figures
from manta.report.evaluation.numbers import change, first, health, numbers
from manta.report.evaluation.page import write_evaluation
from manta.report.evaluation.samples import chart, mistakes, neighbours, pictures
from manta.report.parts.charts import Chart
from synthetic_evaluation import (
    BLURS,
    GIVEN,
    LAYERS,
    broken,
    full,
    one_evaluator,
    samples,
    unlabelled,
)


class Text(HTMLParser):
    """What a page says, outside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self._hidden = False
        self.source = path.read_text()
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def page(found: dict[str, Any], folder: Path) -> Text:
    return Text(write_evaluation(found, folder / "deep" / "evaluation.html"))


def drawn(found: dict[str, Any]) -> dict[str, Chart]:
    settings = {name: one["settings"] for name, one in found.get("evaluators", {}).items()}
    charts = figures(numbers(found), settings, found.get("bank_rows"))
    return {chart.name: chart for chart in charts}


def test_full_page(tmp_path: Path) -> None:
    text = page(full(), tmp_path).text
    interval = "0.582 to 0.642 , the 95% interval; untrained 0.398 to 0.458"
    assert f"kNN top-1 accuracy 0.428 → 0.612 {interval}" in text
    gain = "+18.4 points against the untrained encoder of the same architecture."
    assert f"{gain} The intervals are apart." in text
    assert "Probes learn from 9,000 rows of cifar10/test and are scored on the other 1,000." in text
    assert "Zero-shot segmentation it needs a folder of masks" in text
    rank = "the features use; those of random weights fill many too. Higher is better."
    assert f"{rank} 21.8 31.2 × 1.43" in text
    uniformity = "How unevenly images cover the sphere; 0 is all alike. Lower is better."
    assert f"Uniformity {uniformity} −1.69 −2.41 −0.72" in text
    for metric in (name for own in GIVEN.values() for name in own):
        assert describe_metric(metric).about.title in text, metric


def test_nothing_is_claimed_where_intervals_overlap(tmp_path: Path) -> None:
    known = numbers(full())
    assert known["knn_top1"].effect == "better"
    assert known["linear_sgd_top1"].effect == "open"
    assert known["rankme"].effect == "", "it has no interval"
    rows = dict(re.findall(r'title="(\w+)">(.*?)</tr>', page(full(), tmp_path).source, re.S))
    assert "may be chance" in rows["linear_sgd_top1"]
    assert "<b>" not in rows["linear_sgd_top1"] + rows["rankme"]
    assert "<b>+18.4 points</b>" in rows["knn_top1"]


def test_a_worse_encoder_is_called_so(tmp_path: Path) -> None:
    found = one_evaluator()
    found["metrics"] |= {"random_knn_top1": 0.99}
    found["intervals"] |= {"knn_top1": [0.96, 0.97], "random_knn_top1": [0.98, 0.995]}
    assert numbers(found)["knn_top1"].effect == "worse"
    assert "−1 point against the untrained" in page(found, tmp_path).text


def test_an_interval_without_width_proves_nothing() -> None:
    found = one_evaluator()
    found["metrics"]["random_knn_top5"] = 0.9
    found["intervals"]["random_knn_top5"] = [0.89, 0.91]
    assert numbers(found)["knn_top5"].effect == ""


def test_half_widths_become_intervals() -> None:
    known = numbers({"metrics": {"fewshot1_proto": 0.5, "fewshot1_proto_ci95": 0.02}})
    assert list(known) == ["fewshot1_proto"]
    assert known["fewshot1_proto"].interval == pytest.approx((0.48, 0.52))


def test_figures_hold_the_numbers() -> None:
    plots = drawn(full())
    wanted = (
        "accuracies neighbours fewshot-shots finetune-fractions clustering-agreement risk-parts "
        "retrieval-recall layers-layers corruptions-severities corruptions-kinds"
    )
    assert list(plots) == wanted.split()
    assert len([chart for chart in plots.values() if not chart.wide]) % 2 == 0
    bars, beside = plots["accuracies"].figure.data
    place = bars.y.index("kNN")
    assert (bars.x[place], beside.x[place]) == (0.612, 0.4284)
    assert bars.error_x.array[place] == pytest.approx(0.03)
    assert bars.error_x.arrayminus[place] == pytest.approx(0.03)
    top1 = plots["neighbours"].figure.data[0]
    assert (top1.x, top1.y) == (("1", "20", "100"), (0.58, 0.612, 0.601))
    layers = plots["layers-layers"].figure
    cca = next(trace for trace in layers.data if trace.name == "likeness to the last")
    assert cca.x == LAYERS[:-1]
    assert layers.layout.xaxis.categoryarray == LAYERS
    severities = plots["corruptions-severities"].figure.data[0]
    assert severities.x == ("0 (clean)", "1", "2", "3", "4", "5")
    assert severities.y[0] == 0.62
    kinds = plots["corruptions-kinds"].figure.data[0]
    assert list(kinds.x) == sorted(kinds.x, reverse=True)
    assert len(kinds.x) == len(BLURS)
    parts = {bar.name: bar.x[1] for bar in plots["risk-parts"].figure.data}
    assert sum(parts.values()) == pytest.approx(0.308)


def test_levels_to_compare_with_are_drawn() -> None:
    plots = drawn(full())
    (linear,) = plots["finetune-fractions"].figure.layout.shapes
    assert (linear.y0, linear.y1) == (0.655, 0.655)
    assert "the linear probe with all labels, 0.655" in plots["finetune-fractions"].caption
    (clean,) = plots["corruptions-kinds"].figure.layout.shapes
    assert (clean.x0, clean.x1) == (0.62, 0.62)
    assert plots["corruptions-kinds"].figure.layout.xaxis.range == pytest.approx((0, 1.04 * 0.62))


def test_k_is_clipped_as_the_evaluator_clips_it() -> None:
    found = full() | {"bank_rows": 60}
    assert drawn(found)["neighbours"].figure.data[0].x == ("1", "20", "60")


def test_one_evaluator(tmp_path: Path) -> None:
    found = one_evaluator()
    told = page(found, tmp_path)
    assert list(drawn(found)) == ["accuracies"]
    assert "kNN top-1 accuracy 0.980 0.960 to 0.990 , the 95% interval" in told.text
    assert "ntrained" not in told.text
    for section in ("Embedding map", "nearest by cosine", "Not measured", "Health of the features"):
        assert section not in told.text


def test_which_rows_have_labels_is_said(tmp_path: Path) -> None:
    told = page(one_evaluator() | {"labels": "labels on 37 of 100 rows"}, tmp_path)
    assert "Labels on 37 of 100 rows" in told.text


def test_without_labels_the_rank_is_first(tmp_path: Path) -> None:
    found = unlabelled()
    told = page(found, tmp_path)
    assert list(drawn(found)) == ["layers-layers"]
    assert "Effective rank (RankMe) 10.4 → 31.2 × 3 against the untrained encoder" in told.text
    assert "The data have no labels, so there are no accuracies." in told.text
    assert "Linear probe it needs labels" in told.text
    assert "right or wrong" not in told.text
    assert [row["name"] for row in health(numbers(found))] == ["rankme", "feature_std", "alpha_req"]


def test_what_is_not_finite_is_said(tmp_path: Path) -> None:
    told = page(broken(), tmp_path)
    assert first(numbers(broken())) is None
    assert "No result No evaluator gave a number that is finite." in told.text
    assert told.text.count("not finite") >= 3
    assert "the features hold values that are not finite" in told.text
    assert "<b>burst</b>" in told.text, "a name is text, never markup"
    assert 'id="plotly"' not in told.source


@pytest.mark.parametrize(
    "found", [{}, {"metrics": {}}, {"metrics": {"my_score": 3.5}}], ids=["empty", "none", "own"]
)
def test_almost_nothing(found: dict[str, Any], tmp_path: Path) -> None:
    text = page(found, tmp_path).text
    assert ("my score 3.5" in text) == bool(found.get("metrics"))


def test_everything_that_plotly_gets_is_json(tmp_path: Path) -> None:
    found = full()
    found["metrics"] |= {
        "knn_top1": float("nan"),
        "random_linear_top1": float("nan"),
        "layers_layer2_top1": None,
    }
    source = page(found, tmp_path).source
    plots = re.search(r"^const PLOTS = (.*);$", source, re.M)
    assert plots is not None

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert len(json.loads(plots[1], parse_constant=refuse)) == 10
    assert numbers(found)["linear_top1"].effect == ""
    assert first(numbers(found)).name == "linear_top1"


def test_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    found = full() | {"data": "s3://me:secret@bucket/data", "name": "https://me:secret@host/model"}
    told = page(found, tmp_path)
    assert told.links
    assert all(link.startswith("data:image/") for link in told.links)
    assert "secret" not in told.source


def test_changes() -> None:
    def told(name: str, value: float, untrained: float) -> str:
        return change(numbers({"metrics": {name: value, f"random_{name}": untrained}})[name])

    assert told("knn_top1", 0.5, 0.51) == "−1 point"
    assert told("knn_top1", 0.5, 0.5) == "0 points"
    assert told("lidar", 30.0, 10.0) == "× 3"
    assert told("logme", -0.5, -0.75) == "+0.25"
    assert told("linear_l2", 0.1, 0.01) == ""
    assert told("knn_top1", float("nan"), 0.5) == ""


def test_mistakes_are_counted() -> None:
    count = np.arange(12)
    labels = np.array([0] * 6 + [1] * 5 + [-1])
    taken = np.array([0, 1, 1, 1, 0, 2, 1, 1, 0, 1, 1, 0])
    shown = pictures(
        {
            "thumbnails": np.zeros((12, 8, 8, 3), np.uint8),
            "features": np.eye(12, dtype=np.float32)[count],
        }
        | {"labels": labels, "classes": ["cat", "dog"], "predictions": taken}
    )
    assert shown is not None
    found = mistakes(shown)
    assert found is not None
    assert (found["wrong"], found["total"], found["kinds"]) == (5, 11, 3)
    assert [(one["label"], one["taken"], one["count"], one["of"]) for one in found["pairs"]] == [
        ("cat", "dog", 3, 6),
        ("cat", "2", 1, 6),
        ("dog", "cat", 1, 5),
    ]
    assert len(found["pairs"][0]["tiles"]) == 3


def test_samples_are_named_by_class() -> None:
    shown = pictures(samples())
    assert shown is not None
    made, near = chart(shown), neighbours(shown)
    assert [name for name, _ in made["legend"]] == samples()["classes"]
    wrong = np.flatnonzero(samples()["labels"] != samples()["predictions"])
    assert 0 < len(wrong) < 45
    assert [row for row, mark in enumerate(made["marks"]) if mark == "var(--bad)"] == wrong.tolist()
    assert ", taken for " in made["labels"][wrong[0]]
    assert near["agreement"] > 0.5
    assert near["rows"][0]["name"] == "zero"
    assert near["rows"][0]["tiles"][0].alt.startswith("Image zero")


@pytest.mark.parametrize(
    "given", [None, {}, {"thumbnails": np.zeros((0, 8, 8, 3))}, {"features": np.eye(3)}]
)
def test_incomplete_samples_are_none(given: Any) -> None:
    assert pictures(given) is None


def test_many_samples_are_thinned_evenly() -> None:
    shown = pictures(
        {"thumbnails": np.zeros((4000, 2, 2, 3), np.uint8), "features": np.arange(4000.0)[:, None]}
    )
    assert shown is not None
    rows = shown.features[:, 0]
    assert len(rows) == 1500
    assert (rows[0], rows[-1]) == (0, 3999)
    assert np.diff(rows).max() <= 3


def test_a_page_of_clips_speaks_of_clips(tmp_path: Path) -> None:
    shown = page(full() | {"modality": "audio"}, tmp_path)
    assert not re.findall(r"(?i).{30}\bimages?\b.{30}", shown.text)
    assert "Clips scored" in shown.text
    assert "how far other clips of the same kind would move a number" in shown.text
    (plots,) = re.findall(r"^const PLOTS = (.*);$", shown.source, re.M)
    assert not re.search(r"\bimages?\b", plots)


def test_samples_of_an_unknown_modality_are_rows(tmp_path: Path) -> None:
    assert "Rows scored" in page(full() | {"modality": "smells"}, tmp_path).text
