"""Every odd text through an ingest, a dry run and decoding: the right result, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manta.data import SourceOptions, ingest, open_dataset, survey
from manta.data.read import read_labels, read_rows
from manta.errors import MantaError
from manta.modalities.text import Text, TextConfig
from odd.case import all_cases
from odd.cases.texts import TextCase

CASES: list[TextCase] = all_cases("SENTENCES")
LONGEST_LINE = 600


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text(case: TextCase, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    location = case.make(folder)
    config = TextConfig(source=str(location), **case.options, **case.settings)
    asked = {"options": SourceOptions.of(config), "modality": Text(config, {})}
    if case.error is not None:
        for act in (
            lambda: ingest(location, tmp_path / "out", executor="local", **asked),
            lambda: survey(location, executor="local", **asked),
        ):
            with pytest.raises(MantaError) as refused:
                act()
            assert case.error in str(refused.value)
            assert "\n" not in str(refused.value)
            assert len(str(refused.value)) <= LONGEST_LINE
        return
    report = ingest(location, tmp_path / "out", executor="local", **asked)
    assert report.understood == survey(location, executor="local", **asked)
    assert report.understood is not None
    said = "\n".join(report.understood.lines())
    assert all(note in said for note in case.notes)
    manifest = open_dataset(report.location)
    listed = pq.read_table(Path(manifest.location) / "quarantine.parquet").to_pylist()
    reasons = {row["path"]: row["reason"] for row in listed}
    assert reasons.keys() == case.quarantined.keys()
    for path, reason in case.quarantined.items():
        assert reason in reasons[path]
    indexes = np.arange(manifest.rows)
    stored = read_rows(manifest, indexes).data
    if case.texts is not None:
        assert [data.decode() for data in stored] == list(case.texts)
    labels = read_labels(manifest, indexes)
    names = manifest.classes or []
    found = None if labels is None else [None if n is None else names[n] for n in labels]
    assert found == (None if case.labels is None else list(case.labels))
    decoder = Text(config, manifest.stats).decoder()
    for data in stored:  # what an ingest accepts, training decodes
        (leaf,) = decoder(data, None).values()
        assert 0 < len(leaf) <= config.tokens
