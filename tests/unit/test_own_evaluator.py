"""An evaluator is one file: a package with one is installed, and it is seen everywhere.

The package is a file and an entry point in a temporary folder. A second process runs `manta` with
that folder on its path, since a registry loads the entry points once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EVALUATOR = '''
from typing import Literal

import torch

from manta.evaluators import EVALUATORS, Evaluator, EvaluatorConfig, Metric, MetricFigure


class CentroidConfig(EvaluatorConfig):
    """Settings of the nearest class mean."""

    name: Literal["centroid"] = "centroid"


@EVALUATORS.register("centroid")
class Centroid(Evaluator[CentroidConfig]):
    """Nearest class mean of the bank: `centroid_top1`."""

    Config = CentroidConfig
    title = "Nearest class mean"
    about = "Whether classes are balls."
    metrics = {
        "centroid_top1": Metric(
            "Class mean accuracy", "Nearest mean.", better="higher", kind="fraction", worst=0.0
        ),
        "centroid_radius{q:d}": Metric(
            "Radius, {q}%",
            "Of all classes.",
            better="lower",
            figure="radii",
            at="{q}%",
            line="radius",
        ),
    }
    figures = {
        "radii": MetricFigure("Radii of classes", "How wide.", axis="share of the rows"),
    }
    needs_labels = True
    counts_queries = True

    def evaluate(self, features):
        classes = features.bank_labels.unique()
        means = [features.bank[features.bank_labels == one].mean(0) for one in classes]
        distances = torch.cdist(features.queries, torch.stack(means))
        nearest, rows = distances.min(1)
        return {
            "centroid_top1": classes[rows] == features.query_labels,
            **{f"centroid_radius{q}": float(nearest.quantile(q / 100)) for q in (50, 100)},
        }
'''

MANTA = "from manta.cli import main; main()"

SEEN = """
import contextlib, io, json, sys
from pathlib import Path

import torch

from manta.catalogue import entries
from manta.config import from_mapping
from manta.evaluation.online import due_evaluators
from manta.evaluators import Features, evaluate_all, means
from manta.printing import out, print_comparison, print_metrics
from manta.report.evaluation.page import write_evaluation
from manta.report.run.page import write_report
from manta.tracking.card import model_card
from manta.tuning.study.metrics import metric, with_evaluators

folder = Path(sys.argv[1])
experiment = from_mapping({"data": {"source": "digits"}, "objective": {"name": "simclr"}})
chosen = metric("centroid_top1")
experiment = with_evaluators(experiment, [chosen], every=1)
(evaluator,) = due_evaluators(experiment.evaluation)

bank = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]])
queries = torch.tensor([[0.0, 1.0], [8.0, 1.0], [1.0, 1.0], [6.0, 1.0]])
labels, truth = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
scores = evaluate_all([evaluator], Features(bank, queries, labels, truth))
metrics = means(scores) | {"random_centroid_top1": 0.5, "random_centroid_radius50": 3.0}

write_evaluation({"metrics": metrics, "query_rows": 4, "bank_rows": 4}, folder / "evaluation.html")
run = folder / "run"
evaluation = {"metrics": metrics, "query_rows": 4, "bank_rows": 4, "settings": {"centroid": {}}}
(run / "evaluation.json").write_text(json.dumps(evaluation))
write_report(run)

out.width = 120
with contextlib.redirect_stdout(io.StringIO()) as console:
    print_metrics(metrics)
    gain = {"centroid_radius50": {"gain": -1.0, "low": -1.5, "high": -0.5}}
    models = {"a": {"centroid_radius50": 2.0}, "b": {"centroid_radius50": 1.0}}
    print_comparison(
        {"models": ["a", "b"], "metrics": models, "intervals": {"a": {}, "b": {}}}
        | {"gains": {"b": gain}, "query_rows": 4, "bank_rows": 4}
    )
print(json.dumps({
    "listed": [row for row in entries("evaluators") if row["name"] == "centroid"],
    "metrics": metrics,
    "study": [chosen.mode, chosen.evaluator, chosen.needs_labels, chosen.worst],
    "select": experiment.evaluation.select,
    "card": model_card(experiment, {"name": "m", "run_id": "1"}, evaluation),
    "console": console.getvalue(),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an installed package: one module and its entry point."""
    site = tmp_path_factory.mktemp("site")
    (site / "my_centroid.py").write_text(EVALUATOR)
    about = site / "my_centroid-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-centroid\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[manta.evaluators]\ncentroid = my_centroid\n")
    return site


def run_with(site: Path, *words: str) -> str:
    """Return what a Python process prints that has the package on its path."""
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with its pages, and what the process printed."""
    from synthetic_run import make_run

    folder = tmp_path_factory.mktemp("pages")
    make_run(folder / "run", images=60)
    return folder, json.loads(run_with(installed, "-c", SEEN, str(folder)))


def test_it_is_listed(installed: Path, seen: tuple[Path, dict[str, Any]]) -> None:
    table = run_with(installed, "-c", MANTA, "list", "evaluators")
    assert "Nearest class mean of the bank: `centroid_top1`" in " ".join(table.split())
    (row,) = seen[1]["listed"]
    assert row["needs_labels"] is True


def test_its_numbers_are_right(seen: tuple[Path, dict[str, Any]]) -> None:
    metrics = seen[1]["metrics"]
    assert metrics["centroid_top1"] == 0.75
    # Distances to the nearest mean, (0, 1) or (9, 1): 0, 1, 1, 3.
    assert (metrics["centroid_radius50"], metrics["centroid_radius100"]) == (1.0, 3.0)


def test_a_study_optimises_it(seen: tuple[Path, dict[str, Any]]) -> None:
    assert seen[1]["study"] == ["max", "centroid", True, 0.0]
    assert seen[1]["select"] == "centroid_top1"


@pytest.mark.parametrize("page", ["evaluation.html", "run/report.html"])
def test_pages_know_its_words(seen: tuple[Path, dict[str, Any]], page: str) -> None:
    text = (seen[0] / page).read_text()
    assert "Class mean accuracy" in text
    assert "Radius, 50%" in text
    assert "+25 points" in text
    assert "0.750" in text


def test_the_evaluation_page_explains_it(seen: tuple[Path, dict[str, Any]]) -> None:
    text = (seen[0] / "evaluation.html").read_text()
    assert "Nearest class mean" in text
    assert "Whether classes are balls." in text
    assert "Of all classes. Lower is better." in text


def test_the_evaluation_page_draws_its_figure(seen: tuple[Path, dict[str, Any]]) -> None:
    text = (seen[0] / "evaluation.html").read_text()
    assert 'id="figure-centroid-radii"' in text
    assert "Radii of classes" in text


def test_the_card_and_the_console_know_it(seen: tuple[Path, dict[str, Any]]) -> None:
    card, console = seen[1]["card"], " ".join(seen[1]["console"].split())
    assert "| `centroid_top1` | 0.75 | 0.5 | Class mean accuracy | Higher is better. |" in card
    assert "centroid_top1 0.75 0.5 Class mean accuracy" in console
    assert "b against a: centroid_radius50 -1.0000 [-1.5000, -0.5000], better" in console
