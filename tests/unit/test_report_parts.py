"""What all pages are made of: words, colours, charts, neighbours and maps."""

from __future__ import annotations

import math
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from manta.report.parts import embedding
from manta.report.parts import words as report_words
from manta.report.parts.charts import Chart, chart_of, log_axis, paired_up, plot_script
from manta.report.parts.palette import (
    DARK,
    LIGHT,
    css_variables,
    dark_twins,
    label_colour,
    label_colours,
)
from manta.report.parts.samples import Samples
from manta.report.parts.words import change, duration


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


def test_agreement_leaves_out_what_has_no_label() -> None:
    labels = np.array([0, 0, 1, -1, -1])
    of, nearest = np.array([0, 3]), np.array([[1, 3], [4, 0]])
    assert embedding.agreement(labels, of, nearest) == 1.0
    assert math.isnan(embedding.agreement(labels, np.array([3]), np.array([[4, 0]])))


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


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["objective.temperature", "optimizer.lr"], ["objective.temperature", "optimizer.lr"]),
        (
            ["a.views.crop.scale", "b.views.crop.scale", "x.y.z"],
            ["a.views.crop.scale", "b.views.crop.scale", "y.z"],
        ),
        (["lr"], ["lr"]),
        (["crop.scale", "views.crop.scale"], ["crop.scale", "views.crop.scale"]),
        (["objective.schedule_of_temperature.start"], ["…le_of_temperature.start"]),
        ([], []),
    ],
)
def test_short_paths(paths: list[str], wanted: list[str]) -> None:
    assert list(report_words.short_paths(paths).values()) == wanted


def test_logarithmic_ticks_are_whole_numbers() -> None:
    assert log_axis(1e-4, 0.1)["ticktext"] == ["0.0001", "0.001", "0.01", "0.1"]
    assert log_axis(0.06, 0.5)["ticktext"] == ["0.1", "0.2", "0.5"]
    assert log_axis(0.03, 0.031)["tickvals"] == [0.03]


def test_every_role_has_a_colour_on_both_grounds() -> None:
    light, dark = css_variables(LIGHT), css_variables(DARK)
    names = re.findall(r"--([\w-]+): #[0-9a-f]{6};", light)
    assert names == re.findall(r"--([\w-]+): #[0-9a-f]{6};", dark)
    assert {"ink", "bad-ground", "series-0", "series-4"} <= set(names)
    assert len(names) == 14
    assert dark_twins()[LIGHT.ink] == DARK.ink
    assert dark_twins()[LIGHT.series[3]] == DARK.series[3]


def brightness(colour: str) -> float:
    return sum(int(colour[place : place + 2], 16) for place in (1, 3, 5)) / 3


def test_text_stands_out_from_its_ground() -> None:
    for palette in (LIGHT, DARK):
        texts = (palette.ink, palette.quiet, palette.faint, palette.bad, *palette.series)
        assert min(abs(brightness(one) - brightness(palette.card)) for one in texts) > 80


def test_labels_have_their_colours_whatever_their_numbers() -> None:
    assert label_colours(np.array([7, 3, 7, -1]), 4) == [
        label_colour(1, 2),
        label_colour(0, 2),
        label_colour(1, 2),
        label_colour(-1, 2),
    ]
    assert len(set(label_colours(None, 3))) == 1


def test_a_chart_says_how_it_is_shown() -> None:
    layout = {"meta": "Read it so.", "width": 700, "height": 200, "title": "no"}
    chart = chart_of("Two <parts>", go.Figure(go.Scatter(y=[1.0, float("nan")]), layout=layout))
    assert (chart.id, chart.caption, chart.wide) == ("figure-two-parts", "Read it so.", True)
    (plot,) = plot_script([chart])["plots"]
    assert plot["layout"] == {"autosize": True, "height": 200}
    assert plot["id"] == chart.id
    assert plot["traces"][0]["type"] == "scatter"


def test_no_chart_stands_beside_a_hole() -> None:
    half, wide = Chart("half", "", go.Figure()), Chart("wide", "", go.Figure(), wide=True)
    assert [chart.wide for chart in paired_up([half, wide, half])] == [False, True, False]
    assert [chart.wide for chart in paired_up([half, wide, half, half])] == [
        False,
        True,
        False,
        True,
    ]
    assert paired_up([]) == []
