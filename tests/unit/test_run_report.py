"""The page of a run: right numbers, nothing from outside, something to read when pieces are
missing."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from manta.errors import RunError
from manta.report import write_plots, write_report
from manta.report.run.neighbours import neighbour_rows
from manta.report.run.record import read
from manta.report.run.summary import callout, facts, headline, results
from page_reader import Page
from synthetic_run import CONFIG, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "digits-dcl")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run))


def test_headline_states_the_gain(run: Path, page: Page) -> None:
    found = headline(read(run))
    assert found is not None
    assert (found.untrained, found.trained, found.change) == ("0.732", "0.944", "+21.2 points")
    assert found.bar == pytest.approx((73.21, 94.41))
    assert "+21.2 points against the untrained encoder" in page.text


def test_page_needs_nothing_from_outside(page: Page) -> None:
    fetched = [
        v
        for _, a in page.tags
        for k, v in a.items()
        if k in ("src", "href", "srcset", "xlink:href", "data")
    ]
    assert fetched
    assert [v for v in fetched if v is None or not v.startswith(("data:image/", "#"))] == []
    assert not page.all("link") + page.all("iframe") + page.all("object")
    assert not re.search(r"url\((?!#|data:|\$\{SHEET)|@import", page.source)
    assert any(a.get("http-equiv") == "Content-Security-Policy" for a in page.all("meta"))


def test_page_is_readable_without_seeing(page: Page) -> None:
    assert all(image.get("alt") for image in page.all("img"))
    assert len(page.all("img")) == 3 * 8 + 8 * (
        1 + 7 + 7
    )  # views, then queries with two rows of neighbours
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    maps = [s for s in page.all("svg") if s.get("aria-hidden") != "true"]
    assert len(maps) == 2
    assert all(s.get("role") == "img" and s.get("aria-label") for s in maps)
    curves = [f for f in page.all("figure") if f.get("role") == "group"]
    assert len(curves) == 5
    assert "Loss from " in str(curves[0]["aria-label"])


def test_ids_are_unique(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def colours(value: object) -> set[str]:
    """Every colour in a JSON value."""
    if isinstance(value, dict):
        return set().union(*map(colours, value.values()))
    if isinstance(value, list):
        return set().union(*map(colours, value))
    return {value} if isinstance(value, str) and value.startswith("#") else set()


def test_curves_follow_the_colour_scheme(page: Page) -> None:
    """Each colour of a curve, and of the look that all share, has a twin for dark screens."""
    plots, template, dark = (
        json.loads(re.findall(rf"^const {name} = (.*);$", page.source, re.M)[0])
        for name in ("PLOTS", "TEMPLATE", "DARK")
    )
    ids = [plot["id"] for plot in plots]
    assert ids[:3] == ["figure-loss-0", "figure-loss-1", "figure-evaluation-0"]
    for plot in plots:
        assert "#0f766e" in colours(plot)
        assert colours(plot) <= set(dark)
    assert colours(template) <= set(dark)
    assert dark["#0f766e"] == "#4cc9b8"
    assert "--series-0: #0f766e;" in page.source
    assert "--series-0: #4cc9b8;" in page.source


def test_secrets_stay_home(page: Page) -> None:
    assert "tracking.example:5000" in page.text
    assert "secret" not in page.source


def test_model_and_reproduction_code(run: Path, page: Page) -> None:
    assert 'mlflow.pyfunc.load_model("models:/manta-dcl-resnet10t@candidate")' in page.text
    assert f"manta train {run / 'experiment.yaml'} --name digits-dcl-again" in page.text
    assert "temperature: 0.1" in page.text


def test_commands_on_a_page_of_an_odd_folder_can_be_copied(tmp_path: Path) -> None:
    run = make_run(tmp_path / "q?b [x] $HOME's" / "50% \U0001f990")
    page = Page(write_report(run))
    assert f"manta train {shlex.quote(str(run / 'experiment.yaml'))} --name" in page.text


def test_results_stand_with_their_settings(run: Path) -> None:
    groups = {group["evaluator"]: group for group in results(read(run))}
    assert list(groups) == ["knn", "linear", "rank"]
    assert groups["knn"]["settings"] == "k 200, temperature 0.07, every 2 epochs and at the end"
    assert groups["linear"]["settings"] == "epochs 20, lr 0.1, at the end"
    rows = {
        row["title"]: (row["untrained"], row["trained"], row["change"])
        for row in groups["rank"]["rows"]
    }
    assert rows == {
        "Effective rank (RankMe)": ("11.2", "58.7", "× 5.24"),
        "Spread of features": ("0.22", "0.91", "+0.69"),
    }


def test_the_floor_stands_beside_and_what_loses_to_it_is_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", images=20, steps=30)
    assert "The floor" not in Page(write_report(folder)).text
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["metrics"] |= {"floor_knn_top1": 0.99, "floor_linear_top1": 0.5}
    evaluation |= {"floor": "colour histograms"}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    text = Page(write_report(folder)).text
    assert "Metric Floor Untrained Trained Change" in text
    assert "find in colour histograms, which nothing has learned." in text
    assert "Loses to its floor kNN top-1 accuracy is 0.944, the floor's 0.990." in text


def test_facts(run: Path) -> None:
    known = {fact.title: (fact.value, fact.note) for fact in facts(read(run))}
    assert known["Encoder"] == ("resnet10t", "4.9 M parameters")
    assert known["Data"] == ("digits", "1,797 images, 9e107d9d372b")
    assert known["Training"] == ("20 epochs", "260 steps of 128 images")
    assert known["Wall time"] == ("65 s", "2026-11-21 04:10")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", images=20, steps=30)
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    known = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(
        json.dumps(known | {"name": hostile, "digest": hostile, "model_uri": hostile})
    )
    (folder / "experiment.yaml").write_text(CONFIG.replace("dcl", f'"{hostile}"'))
    (folder / "metrics.jsonl").write_text(
        json.dumps(
            {
                "step": 1,
                "time": 0,
                "metrics": {"loss": 1.0, f"schedule/{hostile}": 2.0, "loss/$x_": 1.0},
            }
        )
        + "\n"
    )
    hostile_page = Page(write_report(folder))
    assert len(hostile_page.all("script")) == 3  # plotly, the figures, the page's own
    assert not any("onerror" in attributes for _, attributes in hostile_page.tags)
    assert hostile in hostile_page.text


def test_stopped_run_says_why_and_what_is_missing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "stopped", status="stopped", diagnosis="collapsed", steps=60)
    text = Page(write_report(folder)).text
    assert "The watch stopped this run after step 59: collapsed" in text
    assert "nearly the same vector" in text
    assert text.count("this run ended before that") >= 3
    assert [path.stem for path in write_plots(folder)] == [
        "loss",
        "evaluation",
        "features",
        "schedules",
        "throughput",
        "views",
    ]


def test_diagnoses_are_explained(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "stopped", status="stopped", diagnosis="not-finite", steps=20)
    found = callout(read(folder))
    assert found is not None
    assert "not finite" in found["title"].replace("-", " ")
    assert "train.clip=1.0" in found["text"]
    assert callout(read(make_run(tmp_path / "fine", images=20))) is None


def test_unlabelled_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "unlabelled", labelled=False, images=60)
    text = Page(write_report(folder)).text
    found = headline(read(folder))
    assert found is not None
    assert (found.title, found.change, found.bar) == ("Effective rank (RankMe)", "× 5.24", None)
    assert "The data have no labels" in text
    assert "same label" not in text
    assert "Colours are labels" not in text


def test_a_run_on_data_of_which_some_have_labels(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "some", images=60)
    samples = folder / "artifacts" / "samples.npz"
    with np.load(samples) as stored:
        arrays = dict(stored)
    arrays["labels"][::2] = -1
    names = [f"kind {number}" for number in range(int(arrays["labels"].max()) + 1)]
    np.savez(samples, **arrays, classes=np.array(names))
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation |= {"labels": "labels on 30 of 60 rows", "skipped": {"fewshot": "needs two classes"}}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    page = Page(write_report(folder))
    assert "labels on 30 of 60 rows." in page.text
    assert "Not measured: Few-shot episodes: needs two classes." in page.text
    assert "kind 1" in page.text
    run = read(folder)
    queries = neighbour_rows(run.samples)["rows"]
    tiles = [tile for row in queries for tile in row["sides"]["trained"]]
    assert {tile.agrees for tile in tiles} == {True, False, None}
    assert all((tile.agrees is None) == ("label none" in tile.alt) for tile in tiles)
    assert all("label kind" in row["query"].alt for row in queries), "those with a label first"


PIECES = [
    "experiment.yaml",
    "run.json",
    "metrics.jsonl",
    "evaluation.json",
    "artifacts/samples.npz",
    "artifacts/views.npz",
]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", images=20, steps=30)


@pytest.mark.parametrize("piece", PIECES)
def test_any_piece_may_be_missing_or_broken(small: Path, piece: str) -> None:
    path = small / piece
    whole = path.read_bytes()
    for kept in (len(whole) // 2, 0):
        path.write_bytes(whole[:kept])
        read(small)
    path.unlink()
    assert "Nearest neighbours" in Page(write_report(small)).text


def test_a_bare_folder_still_gets_its_page(small: Path) -> None:
    for piece in PIECES[1:]:
        (small / piece).unlink()
    text = Page(write_report(small)).text
    assert "run.json is missing" in text
    assert "No result yet" in text
    assert write_plots(small) == []


def test_collapsed_features_are_named_not_drawn(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", images=30)
    path = folder / "artifacts" / "samples.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    for features, words in (
        (np.ones((30, 8)), "all features are the same"),
        (np.full((30, 8), np.nan), "not finite"),
    ):
        np.savez(path, **(arrays | {"features": features.astype(np.float32)}))
        page = Page(write_report(folder))
        assert (
            f"Not shown: {'the features hold values that are ' if 'not' in words else ''}{words}"
            in page.text
        )
        assert "embedding" not in [plot.stem for plot in write_plots(folder)]


def test_folders_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        write_report(tmp_path / "nothing")
    with pytest.raises(RunError, match="holds no run"):
        write_plots(tmp_path)


def test_a_page_of_series_speaks_of_windows(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "beats")
    config = folder / "experiment.yaml"
    config.write_text(CONFIG.replace("data:\n", "data:\n  modality: series\n", 1))
    page = Page(write_report(folder))
    said = page.text.replace("image_size: 32", "")  # of the configuration
    assert not re.findall(r"(?i).{20}\bimages?\b.{20}", said)
    assert "Measured on 179 windows held out of training" in said
    assert "1,797 windows" in said
    assert "windows/s" in said
    assert "Each column is one window" in said
    labels = [str(a.get("alt") or a.get("aria-label")) for _, a in page.tags]
    assert not [label for label in labels if re.search(r"(?i)\bimages?\b", label)]
    (plots,) = re.findall(r"^const PLOTS = (.*);$", page.source, re.M)
    assert "image" not in plots
