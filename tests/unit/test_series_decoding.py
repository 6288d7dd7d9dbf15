"""Series from bytes to leaves, measures, pictures and what an exported model is given."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from manta.data._measures import Measures, merged, of_shard
from manta.errors import ConfigError, DataError
from manta.leaves import Stack
from manta.modalities import MODALITIES, BadSample, Draw
from manta.modalities.series import Series, SeriesConfig, SeriesDecoder
from manta.modalities.series.decoder import filled, stretched
from manta.modalities.series.inspect import (
    SeriesInspector,
    channel_count,
    lengths,
    moments,
    names_of,
)
from manta.modalities.series.packing import pack, unpack
from manta.modalities.series.picture import plot
from manta.ragged import Ragged
from manta.views import ViewsConfig

NAN, INF = math.nan, math.inf


def walk(length: int, channels: int = 2, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(length, channels)).cumsum(0) + 5


def stats_of(data: list[bytes]) -> Measures:
    """Return what an ingest keeps of the measures of all rows."""
    table = pa.table({"measures": [json.dumps(measured(one)) for one in data]})
    stats: Measures = of_shard(table, "series")["stats"]
    return stats


def measured(data: bytes) -> dict[str, float]:
    return dict(SeriesInspector()(data, measure=True).measures or {})


def modality(lengths: list[int], **config: Any) -> tuple[Series, list[bytes]]:
    data = [pack(walk(length, seed=i)) for i, length in enumerate(lengths)]
    kind = MODALITIES["series"](SeriesConfig(source="x", **config), stats_of(data))
    assert isinstance(kind, Series)
    return kind, data


def test_bytes_give_back_values_names_and_gaps() -> None:
    values = np.array([[1.5, NAN], [-2.0, 3e38]])
    back = unpack(pack(values, ["a", "ü"]))
    np.testing.assert_array_equal(back.values, values.astype(np.float32))
    assert back.names == ("a", "ü")
    assert unpack(pack([1, 2, 3])).values.shape == (3, 1)


@pytest.mark.parametrize("data", [b"", b"MSER", b"\x89PNG" * 9, pack([1, 2, 3])[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadSample, match="series"):
        unpack(data)


@pytest.mark.parametrize(
    ("values", "reason"), [([], "no value"), ([NAN], "no finite"), ([NAN, INF], "no finite")]
)
def test_series_without_a_number_are_quarantined(values: list[float], reason: str) -> None:
    with pytest.raises(BadSample, match=reason):
        measured(pack(np.array(values, dtype=np.float64)))


def test_what_is_not_of_time_and_channel_cannot_be_stored() -> None:
    for values in (np.zeros((2, 2, 2)), np.array([["a"]])):
        with pytest.raises(BadSample, match="not numbers of time and channel"):
            pack(values)


def test_gaps_are_interpolated_and_their_ends_continued() -> None:
    column = np.array([NAN, 1, NAN, INF, 4, NAN], dtype=np.float32)
    both = np.stack([column, np.full(6, NAN, dtype=np.float32)], axis=1)
    np.testing.assert_allclose(filled(both)[:, 0], [1, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(filled(both)[:, 1], 0)


def test_rows_are_normalised_channel_by_channel_and_constant_ones_are_zero() -> None:
    values = np.concatenate([walk(40, 1) * 1e-9, np.full((40, 1), 7e4)], axis=1)
    (row,) = SeriesDecoder(2, length=40)(pack(values), None).values()
    np.testing.assert_allclose(row[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(row[:, 0].std(), 1, rtol=1e-5)
    np.testing.assert_array_equal(row[:, 1], 0)


def test_rows_are_normalised_by_the_data() -> None:
    kind, data = modality([20, 30], normalise="data")
    rows = [kind.decoder()(one, None)["series"] for one in data]
    both = np.concatenate(rows)
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(both.std(0), 1, rtol=1e-4)


def test_one_value_is_a_series() -> None:
    kind, data = modality([1, 1])
    assert kind.decoder()(data[0], None)["series"].shape == (1, 2)


def test_long_rows_are_cut_at_a_drawn_place_and_in_the_middle_for_evaluations() -> None:
    kind, data = modality([100, 40], longest=50, normalise="none")
    decoder = kind.decoder()
    assert decoder.draws
    whole = unpack(data[0]).values
    np.testing.assert_allclose(decoder(data[0], None)["series"], whole[25:75])
    parts = [decoder(data[0], Draw(0, epoch, 3))["series"] for epoch in range(8)]
    assert all(len(part) == 50 for part in parts)
    assert len({part.tobytes() for part in parts}) > 4
    np.testing.assert_array_equal(parts[0], decoder(data[0], Draw(0, 0, 3))["series"])
    assert len(decoder(data[1], Draw(0, 0, 0))["series"]) == 40


def test_channels_are_chosen_by_name_in_the_order_asked_for() -> None:
    values = walk(10, 3)
    decoder = SeriesDecoder(2, names=("c", "a"), normalise="none")
    got = decoder(pack(values, "abc"), None)["series"]
    np.testing.assert_allclose(got, values[:, [2, 0]].astype(np.float32))
    with pytest.raises(BadSample, match="no channel 'c'"):
        decoder(pack(values, "abd"), None)
    with pytest.raises(BadSample, match="has 3 channels, and 2 are taken"):
        SeriesDecoder(2)(pack(values), None)


def test_measures_of_parts_add_up_to_those_of_the_whole() -> None:
    data = [pack(walk(5 + n, seed=n), ["x", "y y"]) for n in range(6)]
    whole = stats_of(data)
    halves = merged([stats_of(data[:2]), stats_of(data[2:])])
    assert whole.keys() == halves.keys()
    np.testing.assert_allclose(whole["squares 1"]["sum"], halves["squares 1"]["sum"])
    assert (lengths(whole), channel_count(whole), names_of(whole)) == ((5, 10), 2, ["x", "y y"])
    values = np.concatenate([unpack(one).values for one in data]).astype(np.float64)
    mean, std = moments(whole)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, values.std(0), rtol=1e-6)


def test_constant_channels_have_a_deviation_of_one() -> None:
    assert moments(stats_of([pack(np.full((4, 3), 7e4))]))[1] == (1.0, 1.0, 1.0)


def test_mixed_channels_are_refused_unless_they_are_named() -> None:
    assert channel_count({}) is None
    with pytest.raises(DataError, match="have 2 to 3 channels"):
        channel_count(stats_of([pack(np.ones((4, channels))) for channels in (2, 3, 3)]))
    inspector = SeriesInspector(("b", "a"))
    assert inspector(pack(walk(9, 2), "ab"), measure=False).length == 9
    with pytest.raises(BadSample, match="no channel 'b'"):
        inspector(pack(walk(9, 2), "ac"), measure=False)


def test_layouts_follow_the_lengths_of_the_data() -> None:
    equal, _ = modality([30, 30])
    assert equal.spec.size == (30,)
    assert equal.decoder().layout["series"].shape == (30, 2)
    unequal, _ = modality([30, 20])
    assert unequal.spec.size == (None,)
    leaf = unequal.decoder().layout["series"]
    assert (leaf.shape, leaf.most) == ((None, 2), 30)
    assert not unequal.decoder().draws
    assert modality([30, 20], length=16)[0].spec.size == (16,)


def test_stretching_is_torchs_interpolation() -> None:
    values = walk(23)
    for length in (7, 23, 60):
        inside = torch.from_numpy(values).T[None]
        want = torch.nn.functional.interpolate(inside, size=length, mode="linear")[0].T
        np.testing.assert_allclose(stretched(values, length), want.numpy(), atol=1e-12)


@pytest.mark.parametrize("normalise", ["row", "data", "none"])
@pytest.mark.parametrize("length", [None, 16])
@pytest.mark.parametrize("lengths", [[30, 30, 30], [30, 12, 45]])
def test_a_stranger_gets_what_decoded_rows_get(
    normalise: str, length: int | None, lengths: list[int]
) -> None:
    kind, data = modality(lengths, normalise=normalise, length=length)
    preprocess = MODALITIES["series"].preprocess_from(
        kind.preprocess(ViewsConfig(name="series")).describe()
    )
    assert preprocess.spec == kind.spec
    decoder = preprocess.decoder()
    stack = Stack(decoder.layout, len(data))
    for one in data:
        stack.add(decoder(one, None))
    column = stack.columns()["series"]
    if isinstance(column, np.ndarray):
        ready = list(preprocess.ready({"series": torch.from_numpy(column)}))
    else:
        ragged = Ragged(torch.from_numpy(column.values), torch.from_numpy(column.lengths))
        prepared = preprocess.ready({"series": ragged})
        rows = prepared if isinstance(prepared, torch.Tensor) else None
        ready = (
            list(rows)
            if rows is not None
            else [one.T for one in torch.split(ragged.values, column.lengths.tolist())]
        )
    for one, row in zip(data, ready, strict=True):
        raw = torch.from_numpy(unpack(one).values)[None]
        torch.testing.assert_close(preprocess(raw)[0], row, rtol=1e-4, atol=1e-4)


def test_preprocessing_can_be_traced_for_any_length_and_takes_gaps() -> None:
    kind, _ = modality([30, 30], length=16)
    preprocess = kind.preprocess(ViewsConfig(name="series"))
    any_size = {0: torch.export.Dim("n", min=1), 1: torch.export.Dim("t", min=2)}
    program = torch.export.export(
        preprocess, (preprocess.traced(),), dynamic_shapes={"series": any_size}
    )
    for example in preprocess.examples():
        torch.testing.assert_close(program.module()(example), preprocess(example))
    holed = preprocess.examples()[1].clone()
    holed[0, 3] = NAN
    holed[1] = INF
    assert torch.isfinite(preprocess(holed)).all()


@pytest.mark.parametrize("length", [1, 2, 30, 5000])
def test_plots_show_lines_on_white(length: int) -> None:
    pixels = plot(walk(length, 3))
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    share = (pixels != 255).any(axis=2).mean()
    assert 0.01 < share < 0.95
    columns = (pixels != 255).any(axis=(0, 2))
    assert columns.all()


def test_plots_of_nothing_and_of_constants_are_drawn() -> None:
    assert (plot(np.zeros((0, 1))) == 255).all()
    assert (plot(np.full((9, 1), NAN)) != 255).any()


def test_a_picture_of_a_row_says_its_length() -> None:
    for sizes in ([30, 30], [30, 20]):
        kind, data = modality(sizes)
        stack = Stack(kind.decoder().layout, 1)
        stack.add(kind.decoder()(data[0], None))
        picture = kind.picture(stack.columns())
        assert picture.caption == "30 x 2"
        assert picture.pixels.shape == (64, 64, 3)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="normalise"):
        SeriesConfig(source="x", normalise="column")
    with pytest.raises(ConfigError, match="is named 'serie'"):
        MODALITIES["serie"]
