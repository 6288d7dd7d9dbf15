"""Every odd clip through an ingest, a dry run and decoding: the right sound, or a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manta.data import ingest, open_dataset, survey
from manta.data.read import read_rows
from manta.modalities.audio import Audio, AudioConfig
from odd.case import all_cases
from odd.cases.sounds import RATE, SoundCase

CASES: list[SoundCase] = all_cases("SOUNDS")
ENDS = 200
"""Samples at either end of a clip that are not compared: a filter has little to go by there."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_clips(case: SoundCase, tmp_path: Path) -> None:
    location = case.write(tmp_path / "in")
    modality = Audio(AudioConfig(source=str(location), sample_rate=RATE), {})
    report = ingest(location, tmp_path / "out", modality=modality, executor="local")
    assert report.understood == survey(location, modality=modality, executor="local")
    listed = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    reasons = {row["path"]: row["reason"] for row in listed}
    assert reasons.keys() == case.quarantined.keys()
    for path, reason in case.quarantined.items():
        assert reason in reasons[path], reasons[path]
        assert "\n" not in reasons[path]
    # What an ingest accepts, training decodes.
    manifest = open_dataset(tmp_path / "out")
    decoder = Audio(modality.data, manifest.stats).decoder()
    rows = read_rows(manifest, np.arange(manifest.rows))
    assert manifest.rows == len(case.sounds)
    for data, sound in zip(rows.data, case.sounds.values(), strict=True):
        heard = decoder(data, None)["audio"]
        assert len(heard) == len(sound)
        inner = slice(ENDS, -ENDS) if len(sound) > 2 * ENDS else slice(None)
        assert np.abs(heard - sound)[inner].max() <= case.within
