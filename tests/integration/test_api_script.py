"""A script with an objective and an evaluator of its own, without `if __name__ == "__main__"`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import manta
from manta.errors import RunError

RECIPE = Path(__file__).resolve().parents[2] / "jobs/recipes/digits.yaml"
OWN = """
from typing import Literal

import manta
from manta.evaluators import Evaluator, EvaluatorConfig
from manta.functional import nt_xent
from manta.objectives import Exchange, Objective, ObjectiveConfig


class BrightConfig(ObjectiveConfig):
    name: Literal["bright"] = "bright"
    temperature: float = 0.2


@manta.objective("bright")
class Bright(Objective[BrightConfig]):
    Config = BrightConfig
    exchange = Exchange.GATHER

    def forward(self, batch, progress):
        a, b = self.fused(self.encoder, batch.global_views)
        keys = self.gathered(a, b)
        return {"loss": nt_xent(a, b, temperature=self.config.temperature, **keys)}


class SizeConfig(EvaluatorConfig):
    name: Literal["size"] = "size"


@manta.evaluator("size")
class Size(Evaluator[SizeConfig]):
    Config = SizeConfig

    def evaluate(self, features):
        return {"size": float(features.queries.norm(dim=1).mean())}


TINY = {
    "objective": {"name": "bright", "temperature": 0.3},
    "data": {"image_size": 16, "limit": 300},
    "train": {"batch_size": 64, "epochs": 1, "log_every": 1, "precision": "float32"},
    "evaluation.evaluators": [{"name": "size"}],
    "tracking.register_model": False,
}
"""
SCRIPT = (
    OWN
    + """
import json
import sys

import ray

ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
run = manta.train(sys.argv[1], data="digits", name="own", overrides=TINY, progress=False)
facts = {"metrics": dict(run.metrics), "losses": run.curves["loss"].dropna().tolist()}
facts |= {"ray": ray.is_initialized(), "temperature": run.experiment.objective.temperature}
study = manta.tune("space.yaml", run, name="search", trials=2, progress=False)
facts |= {"states": study.table["state"].tolist(), "best": study.metrics["rankme"]}
facts |= {"study": manta.Study.open("search").metrics, "page": study.page}
print(json.dumps(facts))
"""
)

SPACE = """
study: {metric: rankme}
space:
  objective.temperature: {type: float, low: 0.1, high: 1.0, log: true}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The script's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "own.py").write_text(SCRIPT)
    (folder / "space.yaml").write_text(SPACE)
    done = subprocess.run(
        [sys.executable, "own.py", str(RECIPE)],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_method_of_a_script_is_trained_on_a_worker(finished):
    _, done = finished
    facts = json.loads(done.stdout)
    assert len(facts["losses"]) == 3
    assert all(loss > 0 for loss in facts["losses"])
    assert facts["metrics"]["size"] > 0
    assert facts["temperature"] == 0.3
    assert facts["ray"], "the session that was there before is left as it is"


def test_a_study_varies_a_method_of_a_script(finished):
    _, done = finished
    facts = json.loads(done.stdout)
    assert facts["states"] == ["complete", "complete"]
    assert facts["study"]["rankme"] == facts["best"] > 1
    assert Path(facts["page"]).exists()


def test_progress_can_be_off(finished):
    _, done = finished
    assert "starting Ray" not in done.stderr
    assert "training 'own'" not in done.stderr


def test_another_process_is_told_what_to_define_first(finished):
    folder, _ = finished
    expected = "run 'own' has the objective 'bright', which is not defined in this process"
    with pytest.raises(RunError, match=expected):
        manta.train(RECIPE, name="own", runs=folder / "manta-runs", resume=True)
