"""What an objective asks: targets, windows placed from others, masks and presets of each view."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manta.batch import Ask, Batch, Decreasing, Gap, Mask, Next, Same, View, ViewNeeds, Within
from manta.errors import ConfigError
from manta.modalities import MODALITIES
from manta.ragged import Data, Ragged, rows_of
from manta.views import VIEWS, BatchPart, arranged, generator, same_windows

B = 12
SERIES = torch.tensor([40, 12, 30, 60, 25, 40, 33, 18, 50, 60, 22, 45])
CLIPS = 100 * SERIES
SPAN = Mask("span", 0.4, {"length": 2})
TWIN = (Ask("target"), Ask(after=0, gap=Same(), mask=SPAN))
GRIDS = {"image": (4, 4), "series": (10,), "audio": (2, 8)}
DATA: dict[str, dict[str, Any]] = {
    "image": {},
    "series": {"length": 20},
    "audio": {"sample_rate": 4000, "seconds": 0.25, "mels": 16},
}
ONLY_WINDOWS: dict[str, dict[str, Any]] = {
    "image": {"flip": 0.0, "jitter": (0, 0, 0, 0), "grayscale": 0.0, "blur": 0.0},
    "series": {"jitter": 0.0, "scale": 0.0, "frequency": 0.0},
    "audio": {
        "speed": 0.0,
        "gain": 0.0,
        "noise": 0.0,
        "mask_mels": 0.0,
        "mask_time": 0.0,
        "crop_mels": (1.0, 1.0),
        "crop_time": (1.0, 1.0),
    },
}
MOVED: dict[str, dict[str, Any]] = {
    "image": {"flip": 0.5},
    "series": {"reverse": 0.5, "permute": 0.5},
    "audio": {"speed": 0.3, "crop_mels": (0.6, 1.5)},
}
HARD: dict[str, dict[str, Any]] = {
    "image": {"jitter": (0.8, 0.8, 0.8, 0.2), "solarize": 0.5},
    "series": {"reverse": 0.5, "permute": 0.5, "frequency": 0.5},
    "audio": {"fade": 1.0, "speed": 0.3},
}
TIMED = ("series", "audio")


def rows(modality: str) -> dict[str, Data]:
    noise = torch.Generator().manual_seed(0)
    if modality == "image":
        return {"image": torch.randint(256, (B, 3, 24, 32), dtype=torch.uint8, generator=noise)}
    if modality == "series":
        return {"series": Ragged(torch.randn(int(SERIES.sum()), 1, generator=noise), SERIES)}
    return {"audio": Ragged(0.1 * torch.randn(int(CLIPS.sum()), generator=noise), CLIPS)}


def made(
    modality: str, needs: ViewNeeds, *, which: slice = slice(0, B), step: int = 0, **config: Any
) -> Batch:
    """Make the views of some rows of a batch."""
    kind = MODALITIES[modality]
    samples = kind(kind.Config.model_validate({"source": "x", **DATA[modality]}), {})
    asked = dataclasses.replace(needs, mask_grid=GRIDS[modality])
    views = samples.views(VIEWS[modality].Config.model_validate(config), asked)
    data, index = rows_of(rows(modality), which), torch.arange(B)[which]
    return views(data, index, seed=0, step=step, rows=which, global_batch=B)


def box(view: View) -> Tensor:
    assert view.box is not None
    return view.box


def equal(first: View, second: View) -> None:
    """Check that two views are the same to the last bit."""
    assert first.role == second.role
    for name in ("data", "box", "flip", "mask", "transform"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None and other is None) or torch.equal(one, other), name


def test_numbers_of_views_are_short_for_asks() -> None:
    needs = ViewNeeds(local_views=2, mask_ratio=0.5, strengths=(0.5, 2.0))
    mask = Mask("uniform", 0.5)
    wholes = (Ask(strength=0.5, mask=mask), Ask(strength=2.0, mask=mask))
    assert needs.asks == (*wholes, *[Ask("local", strength=0.5, mask=mask)] * 2)
    assert str(needs) == "2 global + 2 local, masked"
    assert str(ViewNeeds(asks=TWIN)) == "1 target + 1 global, masked"
    asked = ViewNeeds(asks=(*TWIN, Ask("local")))
    assert (asked.global_views, asked.local_views) == (1, 1)
    more = dataclasses.replace(needs, global_views=3, mask_ratio=0.25)
    assert [ask.strength for ask in more.asks] == [0.5, 2.0, 0.5, 0.5, 0.5]
    assert more.masks == (Mask("uniform", 0.25),) * 5
    assert dataclasses.replace(asked, mask_grid=(4,)).asks == asked.asks


@pytest.mark.parametrize(
    ("asks", "message"),
    [
        ((Ask(), Ask(after=1, gap=Same())), "ask 1: `after` is the number of an earlier view"),
        ((Ask(after=0),), "ask 0: `after` and `gap` are given together"),
        ((Ask(length=1.5),), r"ask 0: `length` is a share in \(0, 1\], not 1.5"),
    ],
)
def test_asks_that_mean_nothing_are_refused(asks: tuple[Ask, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewNeeds(asks=asks)
    with pytest.raises(ValueError, match="masks and strengths are of each ask"):
        ViewNeeds(asks=TWIN, mask_ratio=0.5)


@pytest.mark.parametrize("modality", list(GRIDS))
def test_alike_asks_make_the_views_that_their_numbers_make(modality: str) -> None:
    short = made(modality, ViewNeeds("byol", local_views=1, mask_ratio=0.5), **HARD[modality])
    mask = Mask("uniform", 0.5)
    asks = (Ask(mask=mask), Ask(mask=mask), Ask("local", mask=mask))
    asked = made(modality, ViewNeeds("byol", asks=asks), **HARD[modality])
    for one, other in zip(short, asked, strict=True):
        equal(one, other)


@pytest.mark.parametrize("modality", list(GRIDS))
def test_a_target_is_the_clean_twin_of_a_view(modality: str) -> None:
    target, view = batch = made(modality, ViewNeeds(asks=TWIN), **HARD[modality])
    assert (batch.target_views, batch.global_views) == ([target], [view])
    assert target.mask is None
    assert view.mask is not None
    assert torch.equal(box(target), box(view))
    assert not torch.equal(target.tensor, view.tensor)
    clean, same = made(modality, ViewNeeds(asks=TWIN), **ONLY_WINDOWS[modality])
    assert torch.equal(clean.tensor, same.tensor)
    assert torch.equal(clean.tensor, target.tensor)  # no setting but the window's reaches it


@pytest.mark.parametrize("modality", list(GRIDS))
def test_a_target_after_a_view_is_mirrored_and_moved_as_it_is(modality: str) -> None:
    config = ONLY_WINDOWS[modality] | MOVED[modality]
    asks = (Ask(), Ask("target", after=0, gap=Same()))
    view, target = made(modality, ViewNeeds(asks=asks), **config)
    assert torch.equal(target.tensor, view.tensor)
    alone, other = made(modality, ViewNeeds(), **config)
    equal(alone, view)
    assert not torch.equal(other.tensor, view.tensor)


@pytest.mark.parametrize(
    ("gap", "low", "high"),
    [(Next(4), 4, 4), (Within(2, 6), 2, 6), (Within(-3, -3), -3, -3), (Decreasing(8), -8, 8)],
    ids=str,
)
def test_windows_lie_within_the_row_at_the_distance_asked_for(
    gap: Gap, low: int, high: int
) -> None:
    asks = (Ask(length=0.3), Ask(length=0.3, after=0, gap=gap))
    every = []
    for step in range(20):
        first, second = map(box, made("series", ViewNeeds(asks=asks), step=step, preset="plain"))
        every.append(second[:, 0] - first[:, 0])
        # Even the row of 12 values has room for two windows of 4 that are 8 apart.
        for window in (first, second):
            assert (window[:, 0] >= 0).all()
            assert (window[:, 1] <= SERIES).all()
    distances = torch.cat(every)
    assert low <= distances.min() <= distances.max() <= high
    assert high - low == 0 or distances.unique().numel() >= high - low


@pytest.mark.parametrize("mels", [16, None])
def test_windows_of_clips_are_placed_from_one_another(
    mels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATA["audio"], "mels", mels)
    asks = (Ask(), Ask(after=0, gap=Next(300)), Ask("target", after=1, gap=Same()), Ask("local"))
    config = {"preset": "plain"}
    first, second, target, local = made("audio", ViewNeeds(asks=asks), **config)
    has_room = CLIPS >= 1300
    assert torch.equal((box(second) - box(first))[has_room], torch.full((B, 2), 300.0)[has_room])
    assert torch.equal(second.tensor, target.tensor)
    assert (box(first)[:, 0] >= 0).all()
    assert (box(second)[:, 1] <= CLIPS).all()
    assert local.tensor.shape[-1] < first.tensor.shape[-1]
    assert first.transform is not None
    assert torch.isfinite(first.transform).all()
    place = box(first)[:, 0] / (CLIPS - 1000)
    torch.testing.assert_close(first.transform[:, 0], place.float(), atol=0.002, rtol=0)


@pytest.mark.parametrize("modality", list(GRIDS))
def test_views_placed_from_others_depend_on_no_other_row(modality: str) -> None:
    gap: Gap = Same() if modality == "image" else Decreasing(9)
    asks = (*TWIN, Ask(after=1, gap=gap, mask=Mask("group", 0.3, {"size": 3})), Ask("local"))
    whole = made(modality, ViewNeeds(asks=asks), step=5)
    parts = [made(modality, ViewNeeds(asks=asks), which=half, step=5) for half in HALVES]
    for view, *halves in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat([half.tensor for half in halves]), view.tensor)
        assert torch.equal(torch.cat([box(half) for half in halves]), box(view))
        if view.mask is not None:
            masks = [half.mask for half in halves if half.mask is not None]
            assert torch.equal(torch.cat(masks), view.mask)


HALVES = (slice(0, 5), slice(5, B))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=3, max_size=3),
    gaps=st.lists(
        st.sampled_from([Same(), Next(7), Next(-5), Within(-9, 4), Decreasing(12)]),
        min_size=1,
        max_size=4,
    ),
    after=st.data(),
)
def test_a_chain_lies_within_the_row_wherever_it_fits(
    lengths: list[int], gaps: list[Gap], after: st.DataObject
) -> None:
    asks = [Ask()]
    for view, gap in enumerate(gaps):
        asks.append(Ask(after=after.draw(st.integers(0, view)), gap=gap))
    widths = torch.tensor(lengths, dtype=torch.float64).expand(len(asks), 3)
    part = BatchPart(0, 0, slice(0, 3), 3, generator(0, 0), torch.device("cpu"))
    places = arranged(asks, widths, part.uniform(len(asks)))
    assert places.roots == (0,) * len(asks)
    assert (places.shifts >= 0).all()
    assert (places.shifts.min(0).values == 0).all()
    torch.testing.assert_close((places.shifts + widths).max(0).values, places.spans[0])
    for view, of in enumerate(same_windows(asks)):
        assert torch.equal(places.shifts[view], places.shifts[of])


def test_near_windows_are_likelier_by_a_decreasing_gap() -> None:
    part = BatchPart(0, 0, slice(0, 4000), 4000, generator(0, 0), torch.device("cpu"))
    asks = (Ask(), Ask(after=0, gap=Decreasing(10)))
    shifts = arranged(asks, torch.ones(2, 4000).double(), part.uniform(2)).shifts
    away = shifts[1] - shifts[0]
    assert (away.abs() < 5).double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (away < 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert away.abs().max() <= 10


@pytest.mark.parametrize("modality", list(GRIDS))
def test_each_view_has_its_own_preset_and_strength(modality: str) -> None:
    asks = (Ask(), Ask(preset="plain", after=0, gap=Same()), Ask("target", after=0, gap=Same()))
    light = made(modality, ViewNeeds("byol", asks=asks))
    assert not torch.equal(light.views[0].tensor, light.views[1].tensor)
    assert torch.equal(light.views[1].tensor, light.views[2].tensor)
    still = (Ask(strength=0.0), Ask("target"))
    view, _ = made(modality, ViewNeeds("byol", asks=still))
    plain = made(modality, ViewNeeds(asks=(Ask(preset="plain", strength=0.0),))).views[0]
    torch.testing.assert_close(view.tensor, plain.tensor)


@pytest.mark.parametrize(
    ("modality", "ask", "message"),
    [
        ("image", Ask(after=0, gap=Next(1)), r"a window at a distance .*\(gap Next\), which "),
        ("image", Ask(length=0.5), "a window of a length of its own, which views.name=image"),
        ("series", Ask(field="text"), "a view of the field 'text', which views.name=series"),
        ("audio", Ask(preset="simclrr"), "no preset is named 'simclrr'; did you mean 'simclr'"),
        ("audio", Ask(mask=Mask("spam")), "no mask is named 'spam'"),
        ("series", Ask(mask=Mask("tube")), "mask 'tube' needs a grid of 2 axes"),
    ],
)
def test_what_a_pipeline_cannot_make_is_refused_in_one_line(
    modality: str, ask: Ask, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        made(modality, ViewNeeds(asks=(Ask(), ask)))
    assert "\n" not in str(raised.value)


def test_masks_of_ragged_rows_are_cut_with_the_rows() -> None:
    data = Ragged(torch.arange(9.0), torch.tensor([2, 6, 1]))
    view = View(data, mask=torch.tensor([[True, False] + [False] * 4] * 3))
    for which, longest in ((slice(0, 1), 2), (slice(0, 2), 6), (slice(2, 3), 1)):
        mask = view.rows(which).mask
        assert mask is not None
        assert mask.shape[1] == longest
