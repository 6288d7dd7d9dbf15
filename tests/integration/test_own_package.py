"""A source and an objective of a user's own package, a file each: `manta train` takes both."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from command import TINY, manta

from manta.data import open_dataset
from manta.data.read import read_rows

SOURCE = '''
"""Images of a NumPy archive."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from manta.data import SOURCES, Sample, Source


@SOURCES.register("archive")
class Archive(Source):
    """Arrays `images [N, h, w, 3]` uint8 and `labels [N]` of an .npz file."""

    kind = "archive"

    @classmethod
    def claim(cls, place) -> int:
        return 2 if place.suffix == ".npz" else 0

    def units(self) -> Iterator[tuple[int, int]]:
        with self.place.open() as file, np.load(file) as arrays:
            rows = len(arrays["labels"])
        yield from ((start, min(start + 50, rows)) for start in range(0, rows, 50))

    def read(self, unit) -> Iterator[Sample]:
        with self.place.open() as file, np.load(file) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        for row in range(*unit):
            png = io.BytesIO()
            Image.fromarray(images[row]).save(png, "PNG")
            yield Sample(f"row {row}", png.getvalue(), int(labels[row]))

    def classes(self) -> list[str]:
        return ["dark", "bright"]
'''

OBJECTIVE = '''
"""Views of an image agree; the spread of a batch is kept."""

from typing import Literal

from pydantic import Field

from manta.objectives import OBJECTIVES, HeadConfig, Objective, ObjectiveConfig, Paper, mlp


class AgreeConfig(ObjectiveConfig):
    """Settings of agreement with a hinge on the spread."""

    name: Literal["agree"] = "agree"
    margin: float = Field(1.0, gt=0, description="standard deviation below which it costs")
    projector: HeadConfig = HeadConfig(hidden=32, out=16, layers=2)


@OBJECTIVES.register("agree")
class Agree(Objective[AgreeConfig]):
    """Agreement of views, with a hinge on the spread of the batch."""

    Config = AgreeConfig
    family = "statistics"
    paper = Paper("None", 2026, "a test")

    def __init__(self, config, encoder, data):
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)

    def forward(self, batch, progress):
        a, b = (self.projector(self.encoder(view.data)) for view in batch.global_views)
        spread = (self.config.margin - a.std(0)).relu().mean()
        return {"loss": (a - b).square().mean() + spread, "spread": spread.detach()}
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a shell in which the package is installed."""
    site = tmp_path / "site"
    about = site / "my_manta-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "my_archive.py").write_text(SOURCE)
    (site / "my_agree.py").write_text(OBJECTIVE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-manta\nVersion: 1.0\n")
    groups = "[manta.sources]\narchive = my_archive\n[manta.objectives]\nagree = my_agree\n"
    (about / "entry_points.txt").write_text(groups)
    return {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}


@pytest.mark.long  # docs/tutorials/your-modality.md, which is followed too, has entry points
def test_a_source_and_an_objective_of_a_package_are_trained_with(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    labels = np.arange(300) % 2
    images = np.random.default_rng(0).integers(0, 100, (300, 16, 16, 3), dtype=np.uint8)
    images[labels == 1] += 100
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    own = ["objective.name=agree", "objective.margin=0.5", "train.epochs=1", "data.limit=null"]
    words = ["train", "digits", *TINY, *own, "data.source=images.npz", "--name", "own"]
    manta(tmp_path, *words, "--summary", "summary.json", env=environment)
    summary = json.loads((tmp_path / "summary.json").read_text())
    # Bright and dark images are told apart by anything that has seen the pixels.
    assert summary["metrics"]["knn_top1"] == 1.0
    run = tmp_path / "manta-runs/own"
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    spreads = [one["metrics"]["spread"] for one in logged if "spread" in one["metrics"]]
    assert len(spreads) == summary["steps"]
    assert all(0 < spread < 0.5 for spread in spreads)
    dataset = open_dataset(json.loads((run / "run.json").read_text())["dataset"])
    assert (dataset.rows, dataset.classes) == (300, ["dark", "bright"])
    assert len(read_rows(dataset, np.arange(3)).data) == 3


def test_a_mistake_at_the_first_step_ends_all_workers_at_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    code = tmp_path / "site/my_agree.py"
    begin = "        a, b = "
    count = '        open("starts", "a").write(f"{id(self)}\\n")\n'
    wrong = f'{count}{begin}batch["no such key"]\n'
    text = OBJECTIVE.replace(begin, f"{wrong}{begin}")
    code.write_text(text)
    line = next(n for n, one in enumerate(text.splitlines(), 1) if "no such key" in one)
    own = ["objective.name=agree", "train.epochs=1", "resources.workers=2"]
    words = ["train", "digits", *TINY, *own, "--name", "wrong"]
    done = manta(tmp_path, *words, env=environment, check=False)
    assert done.returncode == 2
    (error,) = (said for said in done.stderr.splitlines() if said.startswith("error: "))
    trace = tmp_path / "manta-runs/wrong/error.txt"
    assert error.startswith("error: training failed: TypeError: ")
    assert f"({code}:{line}) (whole trace: {trace}); --resume goes on" in error
    assert "Traceback" not in done.stderr
    assert 'batch["no such key"]' in trace.read_text()
    # The check before Ray is started, then each rank once.
    assert len((tmp_path / "starts").read_text().splitlines()) <= 3
