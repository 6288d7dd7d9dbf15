"""The page and the plots of a run: right numbers, nothing from outside, something to read when
pieces are missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manta.errors import RunError
from manta.report import write_plots, write_report
from manta.report.parts import embedding
from manta.report.parts.palette import label_colours
from manta.report.parts.samples import Samples
from manta.report.parts.words import change, duration
from manta.report.run.curves import curve_groups
from manta.report.run.panels import panels, smoothed, thin
from manta.report.run.plots import curves_figure
from manta.report.run.record import read
from manta.report.run.summary import callout, facts, headline, results
from synthetic_run import CONFIG, make_run


class Page(HTMLParser):
    """Elements of a page: tags with attributes, and the text outside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


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
        np.savez(path, **(arrays | {"features": features.astype(np.float32)}))  # type: ignore[arg-type]
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


def test_neighbours_equal_brute_force() -> None:
    features = (
        np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32) * np.arange(1, 41)[:, None]
    )
    found = embedding.neighbours(features, np.array([3, 17]), count=5)
    for row, query in zip(found, (3, 17), strict=True):
        cosine = [
            float(features[query] @ other / np.linalg.norm(features[query]) / np.linalg.norm(other))
            for other in features
        ]
        others = sorted((i for i in range(40) if i != query), key=lambda i: -cosine[i])
        assert row.tolist() == others[:5]


def test_agreement_counts_labels() -> None:
    labels = np.array([0, 0, 1, 1])
    assert embedding.agreement(labels, np.array([0, 2]), np.array([[1, 2], [3, 0]])) == 0.5


def test_queries_show_every_label_before_a_second_of_one() -> None:
    labels = np.repeat(np.arange(5), 20)
    samples = Samples(
        np.zeros((100, 2, 2, 3), np.uint8), np.zeros((100, 2)), np.zeros((100, 2)), labels
    )
    assert sorted(labels[embedding.queries(samples)].tolist()) == [0, 0, 1, 1, 2, 2, 3, 4]
    unlabelled = Samples(samples.thumbnails, samples.features, samples.random_features, None)
    assert embedding.queries(unlabelled).tolist() == [0, 14, 28, 42, 57, 71, 85, 99]


def test_map_keeps_clusters_apart() -> None:
    draws = np.random.default_rng(0)
    centres = 8 * np.eye(3, 16)
    features = np.concatenate([centre + draws.normal(size=(40, 16)) for centre in centres])
    flat = embedding.project(features)
    assert flat.shape == (120, 2)
    assert flat.min() == 0
    assert flat.max() == pytest.approx(1)
    groups = flat.reshape(3, 40, 2)
    spread = np.linalg.norm(groups - groups.mean(axis=1, keepdims=True), axis=2).mean()
    middles = groups.mean(axis=1)
    apart = min(float(np.linalg.norm(middles[i] - middles[j])) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 3 * spread
    assert np.array_equal(flat, embedding.project(features))


@pytest.mark.parametrize(("images", "width"), [(3, 4), (11, 2), (12, 3), (14, 1), (40, 2)])
def test_map_of_few_or_narrow_features(images: int, width: int) -> None:
    flat = embedding.project(np.random.default_rng(0).normal(size=(images, width)))
    assert flat.shape == (images, 2)
    assert np.isfinite(flat).all()


def test_colours_tell_labels_apart() -> None:
    for classes in (10, 60):
        colours = label_colours(np.arange(classes), classes)
        assert len(set(colours)) == classes
        assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in colours)


@pytest.mark.parametrize(
    ("trained", "untrained", "metric", "words"),
    [
        (0.62, 0.41, "knn_top1", "+21 points"),
        (0.40, 0.41, "knn_top1", "−1 point"),
        (0.41, 0.41, "knn_top1", "0 points"),
        (48.0, 12.0, "rankme", "× 4"),
        (float("nan"), 0.4, "knn_top1", ""),
        (0.5, None, "knn_top1", ""),
    ],
)
def test_change_in_words(trained: float, untrained: float | None, metric: str, words: str) -> None:
    assert change(trained, untrained, metric) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.4, "7 s"), (240, "4 min"), (5400, "1 h 30 min"), (None, "")]
)
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
