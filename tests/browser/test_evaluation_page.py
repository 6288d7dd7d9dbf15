"""The page of an evaluation in a real browser: figures are drawn and answer, colours follow the
scheme, a phone has room, and nothing is fetched."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_report_page import WIDTH, ask

from manta.report.evaluation.page import write_evaluation
from synthetic_evaluation import broken, full, one_evaluator, samples, unlabelled

COLOURS = """({bar: getComputedStyle(document.querySelector("#figure-accuracies .point path")).fill,
  value: getComputedStyle(document.querySelector("#figure-accuracies .annotation text")).fill,
  ink: getComputedStyle(document.body).color})"""


CUT = """[...inside.querySelectorAll("main section, .numbers")]
  .filter((one) => one.scrollWidth > one.clientWidth).length"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(full(), tmp_path_factory.mktemp("evaluation") / "evaluation.html")


def on_a_phone(folder: Path, page: Path, question: str) -> dict[str, Any]:
    """An answer about the page in a frame of 390 pixels, where `inside` is its document."""
    question = question.replace("CUT", CUT)
    frame = folder / "frame.html"
    source = html.escape(page.read_text(), quote=True)
    frame.write_text(
        "<head></head><body>"
        f"<iframe width=390 height=800 style='border:0' srcdoc='{source}'></iframe></body>"
    )
    inside = "const inside = document.querySelector('iframe').contentDocument;"
    return ask(folder, frame, f"(() => {{ {inside} {question} }})()")


def test_figures_are_drawn_and_the_map_answers(tmp_path: Path, page: Path) -> None:
    question = (
        """(() => {
      const plots = [...document.querySelectorAll(".figure")];
      Plotly.Fx.hover("figure-accuracies", [{curveNumber: 0, pointNumber: 0}]);
      const points = [...document.querySelectorAll("#maps circle:not(.ring)")];
      const before = points.map((point) => getComputedStyle(point).fill);
      document.querySelector("input[value=marks]").click();
      const marks = points.map((point) => getComputedStyle(point).fill);
      document.querySelector("input[value=class]").click();
      const again = points.map((point) => getComputedStyle(point).fill);
      const box = points[5].getBoundingClientRect();
      const middle = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
      const moved = new PointerEvent("pointermove", {...middle, bubbles: true});
      document.querySelector("#maps svg").dispatchEvent(moved);
      const drawn = plots.filter((plot) => plot.querySelector(".cartesianlayer path"));
      const wrong = marks.find((one, row) => SHEET.labels[row].includes("taken for"));
      return {plots: plots.length, drawn: drawn.length,
        bars: document.querySelectorAll("#figure-accuracies .point path").length,
        whiskers: document.querySelectorAll("#figure-accuracies .xerror").length,
        lines: document.querySelectorAll("#figure-fewshot-shots .scatterlayer .js-line").length,
        hover: document.querySelector("#figure-accuracies .hovertext").textContent,
        wrong: marks.map((colour) => colour === wrong),
        restored: before.join() === again.join(),
        caption: document.querySelector("#peek span").textContent,
        broken: [...document.images].filter((image) => !image.naturalWidth).length,
        colours: COLOURS, ..."""
        + WIDTH
        + "}; })()"
    ).replace("COLOURS", COLOURS)
    found = ask(
        tmp_path,
        page,
        question,
        "--window-size=1280,900",
        "--blink-settings=preferredColorScheme=1",
    )
    assert found["troubles"] == []
    assert (found["plots"], found["drawn"]) == (10, 10)
    assert (found["bars"], found["whiskers"]) == (22, 22)
    assert found["lines"] == 6, "three heads, each beside the untrained encoder"
    assert found["hover"] == "trained0.612 (95%: 0.582 to 0.642)"
    assert found["wrong"] == (samples()["labels"] != samples()["predictions"]).tolist()
    assert found["restored"]
    assert found["caption"].startswith(f"label {samples()['classes'][samples()['labels'][5]]}")
    assert found["broken"] == 0
    assert (found["page"], found["screen"]) == (1280, 1280)
    assert found["colours"] == {
        "bar": "rgb(15, 118, 110)",
        "value": "rgb(29, 35, 41)",
        "ink": "rgb(29, 35, 41)",
    }


def test_colours_follow_the_scheme(tmp_path: Path, page: Path) -> None:
    """Dark here; the test above looks at the light page."""
    found = ask(tmp_path, page, COLOURS, "--blink-settings=preferredColorScheme=0")
    assert found == {
        "troubles": [],
        "bar": "rgb(76, 201, 184)",
        "value": "rgb(230, 234, 237)",
        "ink": "rgb(230, 234, 237)",
    }


def test_phone(tmp_path: Path, page: Path) -> None:
    question = """
      const bars = inside.getElementById("figure-accuracies");
      const names = [...bars.querySelectorAll(".annotation text")].map((one) => one.textContent);
      const axes = bars.querySelector(".xy .gridlayer, .cartesianlayer .xy");
      const plot = axes.getBoundingClientRect();
      const heads = [...inside.querySelectorAll(".numbers tbody tr")].map((row) => {
        const [head, next] = [0, 1].map((cell) => row.cells[cell].getBoundingClientRect());
        return head.bottom <= next.top + 1;
      });
      return {page: inside.documentElement.scrollWidth, names,
        ticks: bars.querySelectorAll(".ytick").length, plot: plot.width, own: heads.every(Boolean),
        cut: CUT};
    """
    found = on_a_phone(tmp_path, page, question)
    assert (found["troubles"], found["page"], found["cut"]) == ([], 390, 0)
    assert {"kNN", "Linear probe", "0.612"} <= set(found["names"])
    assert found["ticks"] == 0, "names stand above their bars"
    assert found["plot"] > 220
    assert found["own"], "a number's name has a line of its own"


@pytest.mark.parametrize(
    ("make", "figures"),
    [(one_evaluator, 1), (unlabelled, 1), (broken, 0), (dict, 0)],
    ids=["one", "none", "nan", "empty"],
)
def test_missing_parts(tmp_path: Path, make: Callable[[], dict[str, Any]], figures: int) -> None:
    page = write_evaluation(make(), tmp_path / "evaluation.html")
    question = """return {page: inside.documentElement.scrollWidth,
      figures: inside.querySelectorAll(".figure").length,
      drawn: inside.querySelectorAll(".figure .main-svg .cartesianlayer").length,
      cut: CUT};"""
    seen = on_a_phone(tmp_path, page, question)
    assert (seen["troubles"], seen["page"], seen["cut"]) == ([], 390, 0)
    assert (seen["figures"], seen["drawn"]) == (figures, figures)
