"""The page and the tables of a study: right numbers, and nothing from outside."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import plotly.graph_objects as go
import pytest
from rich.console import Console
from rich.table import Table

from manta.report.parts.charts import plotly_library
from manta.report.study import summary
from manta.report.study.page import write_study_page
from manta.report.study.record import StudyRecord
from manta.tuning.figures.console import failure_lines, importance_table, study_table
from manta.tuning.figures.importance import importances
from manta.tuning.figures.plots import figures
from page_reader import Page
from synthetic_study import make_study

TAUS = {"rankme": 0.71, "feature_std": 0.05, "alpha_req_gap": None}
Made = tuple[optuna.Study, StudyRecord, dict[str, go.Figure | str]]


@pytest.fixture(scope="module")
def made() -> Made:
    study, record = make_study(trials=40)
    assert Counter(trial.state for trial in record.trials) == {
        "complete": 11,
        "pruned": 26,
        "failed": 3,
    }
    return study, record, figures(study, record, TAUS)


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Page:
    study, record, drawn = made
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    storage = "postgresql://ada:secret@db.example:5432/optuna"
    return Page(
        write_study_page(folder, record, drawn, importances(study, record), TAUS, storage=storage)
    )


def rows(page: Page, css_class: str) -> list[str]:
    """The rows of the body of the first table of a class, as markup."""
    table = re.search(
        rf'<table class="results {css_class}.*?</table>', page.source, flags=re.DOTALL
    )
    assert table, css_class
    return re.findall(r"<tr.*?</tr>", table[0].split("<tbody>")[1], flags=re.DOTALL)


def test_headline_and_changes(made: Made, page: Page) -> None:
    _, record, _ = made
    best, default = record.best, record.default
    assert best is not None
    assert default is not None
    found = summary.headline(record)
    assert found is not None
    assert (found["own"], found["best"]) == (f"{default.value:.3f}", f"{best.value:.3f}")
    gain = 100 * ((best.value or 0) - (default.value or 0))
    assert f"+{gain:.1f} points against the recipe's own configuration (trial 0)" in page.text
    changed = summary.changes(record, {"optimizer.lr": 0.9, "objective.temperature": 0.1})
    assert changed[0] == {
        "path": "optimizer.lr",
        "old": "0.003",
        "new": f"{best.params['optimizer.lr']:.4g}",
        "importance": "90%",
    }
    assert {row["path"] for row in changed} == {
        k for k, v in best.params.items() if default.params.get(k) != v
    }
    assert len(rows(page, "changes")) == len(changed)


def test_facts(made: Made) -> None:
    _, record, _ = made
    known = {fact.title: (fact.value, fact.note) for fact in summary.facts(record)}
    spent = sum(trial.epochs for trial in record.trials)
    assert known["Trials"] == ("11 complete", "26 pruned, 3 failed")
    assert known["Epochs spent"] == (
        f"{spent:g}",
        f"{spent / 360:.0%} of the 360 that every trial in full would take",
    )
    assert known["Stopping"] == ("asha", "a whole trial is 9 epochs")
    in_steps = replace(record, unit="steps", fidelity=900)
    assert summary.whole_epochs(in_steps) == 360  # by the epochs of the complete trials


def test_a_recipe_that_was_stopped_or_never_beaten_is_said_so(made: Made) -> None:
    _, record, _ = made
    pruned = replace(record.trials[0], state="pruned", value=0.2, epochs=1.0)
    found = summary.headline(replace(record, trials=[pruned, *record.trials[1:]]))
    assert found is not None
    assert (found["own"], found["bar"]) == ("", None)
    assert (
        found["note"]
        == "The recipe's own configuration (trial 0) was pruned after 1 epoch at 0.200."
    )
    winner = replace(record.trials[0], value=0.99)
    found = summary.headline(replace(record, trials=[winner, *record.trials[1:]]))
    assert found is not None
    assert (found["change"], found["note"]) == (
        "",
        "No trial did better than the recipe's own configuration (trial 0).",
    )


def test_less_can_be_better(made: Made) -> None:
    _, record, _ = made
    found = summary.headline(replace(record, metrics=["alpha_req_gap"], modes=["min"]))
    worst = min(record.complete, key=lambda trial: trial.value or 0)
    assert found is not None
    assert found["number"] == worst.number


def test_every_trial_and_every_failure_has_its_row(made: Made, page: Page) -> None:
    _, record, _ = made
    trials = rows(page, "trials")
    assert len(trials) == 40
    assert sum('class="best"' in row for row in trials) == 1
    assert f">{record.best.number}" in next(row for row in trials if 'class="best"' in row)
    failed = rows(page, "failures")
    wanted = [trial for trial in record.trials if trial.state == "failed"]
    assert len(failed) == len(wanted) == 3
    for row, trial in zip(failed, wanted, strict=True):
        assert f">{trial.number}<" in row
        assert str(trial.reason) in row


def test_trust_is_told_by_tau(page: Page) -> None:
    assert len(rows(page, "trust")) == 3
    assert (
        "On your data, rankme ranked the trials like kNN (tau 0.71); use it when labels are gone."
        in page.text
    )
    assert "feature_std said little about kNN (tau 0.05)" in page.text
    assert "Too few trials have both alpha_req_gap and kNN" in page.text
    order = [row["tau"] for row in summary.trust({"a": None, "b": -0.7, "c": 0.4, "d": 0.9})]
    assert order == ["0.90", "0.40", "−0.70", "–"]


def test_commands(page: Page) -> None:
    assert re.search(r"manta train \S+/digits/best\.yaml --name cifar10-joint-best", page.text)
    assert "optuna-dashboard 'postgresql://ada:***@db.example:5432/optuna'" in page.text
    assert "secret" not in page.source


def test_page_needs_nothing_from_outside(page: Page) -> None:
    assert [
        v
        for _, a in page.tags
        for k, v in a.items()
        if k in ("src", "href", "srcset", "xlink:href", "data")
    ] == []
    assert not page.all("link") + page.all("iframe") + page.all("object")
    own = page.source.replace(plotly_library(), "")
    assert len(own) < len(page.source) - 10**6
    assert not re.search(r"https?://|@import|url\((?!\$\{SHEET)", own)
    policy = [
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ]


def test_page_is_readable_without_seeing(page: Page) -> None:
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert len(page.all("figure")) == 8
    assert all(figure.get("aria-label") for figure in page.all("figure"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) == 8 + 1  # figures, and the library


def test_hostile_names_are_text(made: Made, tmp_path: Path) -> None:
    _, record, _ = made
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    bad = replace(
        record.trials[1], params={hostile: hostile}, state="failed", reason=hostile, run_id=hostile
    )
    worse = replace(record.trials[2], params={hostile: hostile}, value=0.99)
    known = replace(
        record, name=hostile, space=hostile, sampler=hostile, trials=[record.trials[0], bad, worse]
    )
    figure = go.Figure(
        go.Scatter(x=[1], y=[2], name=hostile), layout={"meta": hostile, "title": hostile}
    )
    drawn = {hostile: figure, f"2{hostile}": hostile}
    found = Page(
        write_study_page(tmp_path, known, drawn, {hostile: 1.0}, {hostile: 0.9}, storage=hostile)
    )
    assert len(found.all("script")) == 3  # plotly, the figures, the page's own
    assert not found.all("img")
    assert not any("onerror" in attributes for _, attributes in found.tags)
    assert found.text.count(hostile) > 8


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_on_the_command_line(made: Made) -> None:
    study, record, _ = made
    odd = replace(record.trials[-1], state="failed", reason="[red]no[/red] such [file]")
    table = study_table(replace(record, trials=[*record.trials[:-1], odd]))
    assert table.row_count == 40
    lines = printed(table).splitlines()
    assert record.best is not None
    (best,) = [line for line in lines if "★" in line]
    assert best.split()[0] == str(record.best.number)
    assert f"{record.best.value:.3f}" in best
    assert "0 recipe" in lines[1]
    (last, *_) = reversed(failure_lines(replace(record, trials=[odd])))
    assert last == f"trial {odd.number} failed: [red]no[/red] such [file]"
    first = replace(odd, number=7, reason="KeyError: 'x' (a.py:3) (whole trace: /r/0007/error.txt)")
    again = replace(first, number=9, reason=str(first.reason).replace("0007", "0009"))
    assert failure_lines(replace(record, trials=[first, odd, again])) == [
        f"trials 7, 9 failed: {first.reason}",
        last,
    ]
    shares = printed(importance_table(importances(study, record))).splitlines()
    assert len(shares) == 7
    assert shares[1].startswith("objective.temperature")
