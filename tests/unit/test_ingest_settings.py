"""Settings of the samples that `manta.ingest` takes beside its own arguments."""

from __future__ import annotations

import pytest

from manta.api.ingesting import settled_options
from manta.data import SourceOptions
from manta.errors import ConfigError


def test_overrides_of_data_reach_the_source_and_the_modality() -> None:
    asked = SourceOptions(split="all", modality="text")
    words = {"data.encoding": "latin-1", "data.labels": "first", "data.vocabulary_size": 999}
    options, modality = settled_options(asked, words)
    assert (options.split, options.labels, options.modality) == ("all", "first", "text")
    assert options.settings == (("encoding", "iso8859-1"),)
    assert modality is not None
    assert modality.data.vocabulary_size == 999


def test_without_overrides_options_stay_as_they_are() -> None:
    asked = SourceOptions(column="picture")
    assert settled_options(asked, ()) == (asked, None)


@pytest.mark.parametrize(
    ("asked", "words", "error"),
    [
        (SourceOptions(), ["data.window=9"], "say what the samples are"),
        (SourceOptions(modality="series"), ["train.epochs=9"], "settings of data alone"),
        (SourceOptions(modality="series"), ["data.window=1"], "greater than or equal to 2"),
    ],
)
def test_other_overrides_are_refused(asked: SourceOptions, words: list[str], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        settled_options(asked, words)
