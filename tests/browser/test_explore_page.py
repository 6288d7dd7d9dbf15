"""The page of `manta explore` in a real browser: it answers to a click, and nothing is fetched."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from test_report_page import WIDTH, ask

from manta.data import ingest, open_dataset
from manta.errors import DataError
from manta.files import Place
from manta.report.explore import write_explorer
from manta.serving._parts import EmbeddedRows, part_name, write_part
from manta.serving.embeddings import MANIFEST
from manta.serving.job import Job

QUESTION = (
    """(() => {
  document.querySelector(".contact .thumb").click();
  const rowOf = (thumb) => Number(thumb.dataset.row);
  const shown = [...document.querySelectorAll("#near .grid .thumb")];
  return {
    chosen: rowOf(document.querySelector("#near .chosen .thumb")), rows: shown.map(rowOf),
    first: rowOf(document.querySelector(".contact .thumb")),
    count: DATA.points.length, paths: DATA.paths,
    wide: shown.every((thumb) => thumb.clientWidth > 20), ..."""
    + WIDTH
    + "}; })()"
)


@pytest.fixture(scope="module")
def embeddings(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digits' pixels as their embeddings, in three parts."""
    folder = tmp_path_factory.mktemp("explore")
    ingest("digits", str(folder / "digits.manta"))
    from sklearn.datasets import load_digits

    manifest = open_dataset(str(folder / "digits.manta"))
    vectors = load_digits().data.astype(np.float32)
    out = folder / "e.parquet"
    out.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(manifest.rows), 3)):
        paths = [f"digits/{row:04d}.png" for row in rows]
        write_part(
            Place(str(out)) / part_name(number),
            vectors.shape[1],
            [EmbeddedRows(rows, paths, vectors[rows], [])],
        )
    job = Job("pixels", "", manifest.location, manifest.digest, manifest.rows, 600)
    (out / MANIFEST).write_text(
        json.dumps(asdict(job) | {"embedded": 1797, "unreadable": 0, "width": 64})
    )
    return str(out)


def test_neighbours_of_a_click_are_the_nearest_by_cosine(embeddings: str, tmp_path: Path) -> None:
    page = write_explorer(embeddings, tmp_path / "explore.html", images=300)
    found = ask(
        tmp_path,
        page,
        QUESTION,
        "--window-size=1280,900",
    )
    assert found["troubles"] == []
    assert found["chosen"] == found["first"]
    assert found["wide"]
    assert found["page"] == found["screen"]
    assert found["count"] == 300
    from sklearn.datasets import load_digits

    kept = [int(path[7:11]) for path in found["paths"]]
    vectors = load_digits().data[kept]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[found["chosen"]]), kind="stable")
    assert set(found["rows"]) == set(order[order != found["chosen"]][:12].tolist())


def test_unfinished_embeddings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished embeddings; `manta embed"):
        write_explorer(str(tmp_path / "none.parquet"), tmp_path / "x.html")
