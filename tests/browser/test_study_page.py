"""The page of a study in a real browser: figures are drawn, columns sort, nothing is fetched,
nothing overflows."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from test_report_page import ask

from manta.report.study.page import write_study_page
from manta.report.study.record import StudyRecord
from manta.tuning.figures.importance import importances
from manta.tuning.figures.plots import figures
from synthetic_study import make_study

TAUS = {"rankme": 0.71, "feature_std": -0.4}
INK = """[...new Set([...document.querySelectorAll(".figure .xtick text, .figure .legendtext")]
  .map((text) => getComputedStyle(text).fill))]"""
Made = tuple[Path, StudyRecord]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    study, record = make_study()
    folder = tmp_path_factory.mktemp("study")
    return write_study_page(
        folder, record, figures(study, record, TAUS), importances(study, record), TAUS
    ), record


def test_figures_are_drawn_and_columns_sort(tmp_path: Path, made: Made) -> None:
    page, record = made
    question = """(() => {
      const plots = [...document.querySelectorAll(".figure")];
      const count = (selector) => document.querySelectorAll(selector).length;
      const points = (name) => count(`#figure-${name} .scatterlayer .point`);
      const drawn = plots.filter((plot) => plot.querySelector(".cartesianlayer path"));
      const table = document.querySelector("table.trials");
      const value = [...table.querySelectorAll("thead button")][2];
      const order = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[0].dataset.key));
      const found = {
        plots: plots.length, drawn: drawn.length,
        history: points("optimisation-history"), bars: count("#figure-rung-survival .point"),
        holes: plots.filter((plot) => !plot.classList.contains("wide")).length % 2,
        page: document.documentElement.scrollWidth, screen: document.documentElement.clientWidth,
        before: order(), ink: INK,
      };
      value.click(); found.down = order();
      found.state = value.closest("th").getAttribute("aria-sort");
      value.click(); found.up = order();
      return found;
    })()""".replace("INK", INK)
    found = ask(
        tmp_path,
        page,
        question,
        "--window-size=1280,900",
        "--blink-settings=preferredColorScheme=1",
    )
    assert found["troubles"] == []
    assert (found["plots"], found["drawn"], found["holes"]) == (8, 8, 0)
    ended = [trial for trial in record.trials if trial.state in ("complete", "pruned")]
    assert found["history"] == len(ended)
    assert found["bars"] >= 6
    assert found["ink"] == ["rgb(92, 102, 111)"]
    assert (found["page"], found["screen"]) == (1280, 1280)
    assert found["before"] == [trial.number for trial in record.trials]
    assert record.trials[22].value is None
    wanted = [trial.number for trial in sorted(ended, key=lambda trial: trial.value or 0)]
    assert found["up"] == [*wanted, 22]
    assert found["down"] == [*reversed(wanted), 22]
    assert found["state"] == "descending"


def test_phone(tmp_path: Path, made: Made) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<head></head><body><iframe width=360 height=640 style='border:0' "
        f"srcdoc='{html.escape(made[0].read_text(), quote=True)}'></iframe></body>"
    )
    inside = "document.querySelector('iframe').contentDocument"
    sections = f"[...{inside}.querySelectorAll('main section')]"
    cut = f"{sections}.filter((one) => one.scrollWidth > one.clientWidth).length"
    question = f"{{page: {inside}.documentElement.scrollWidth, cut: {cut}}}"
    assert ask(tmp_path, frame, question) == {"troubles": [], "page": 360, "cut": 0}


def test_figures_follow_the_colour_scheme(tmp_path: Path, made: Made) -> None:
    """Dark here; the test of the desktop looks at the light page."""
    found = ask(tmp_path, made[0], f"{{ink: {INK}}}", "--blink-settings=preferredColorScheme=0")
    assert found == {"troubles": [], "ink": ["rgb(163, 173, 181)"]}
