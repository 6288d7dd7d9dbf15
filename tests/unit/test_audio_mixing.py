"""Mixing of clips: partners by lane, the same on any number of ranks, and the power of both."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from manta.batch import Batch, ViewNeeds
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import AudioViews, AudioViewsConfig
from manta.modalities.audio.views.kernels import blend_levels, blend_waves
from manta.ragged import Ragged, rows_of
from manta.views import BatchPart, generator

B = 32
LENGTHS = torch.arange(1, B + 1) * 120


def pipeline(needs: ViewNeeds, *, mels: int | None = 16, **config: Any) -> AudioViews:
    audio = Audio(AudioConfig(source="x", sample_rate=4000, seconds=0.4, mels=mels), {})
    views = audio.views(AudioViewsConfig.model_validate(config), needs)
    assert isinstance(views, AudioViews)
    return views


def made(views: AudioViews, which: slice = slice(0, B)) -> Batch:
    values = torch.randn(int(LENGTHS.sum()), generator=torch.Generator().manual_seed(4))
    rows = rows_of({"audio": Ragged(0.1 * values, LENGTHS)}, which)
    return views(rows, torch.arange(B)[which], seed=1, step=2, rows=which, global_batch=B)


@pytest.mark.parametrize("mels", [16, None])
def test_clips_are_mixed_with_others_of_their_rank_the_same_on_any_number_of_ranks(
    mels: int | None,
) -> None:
    views = pipeline(ViewNeeds(local_views=1), mels=mels, preset="byol")
    whole = made(views)
    for ranks in (2, 4, 8):
        size = B // ranks
        parts = [made(views, slice(rank * size, (rank + 1) * size)) for rank in range(ranks)]
        for place, view in enumerate(whole):
            both = torch.cat([part.views[place].tensor for part in parts])
            torch.testing.assert_close(view.tensor, both)


def test_mixing_changes_no_other_draw_and_nothing_where_its_share_is_zero() -> None:
    needs = ViewNeeds(mask_ratio=0.5, mask_grid=(4, 10))
    bare, none, mixed = (
        made(pipeline(needs, preset="byol", noise=0.5, **mix))
        for mix in ({"mix": 0}, {"mix": 1e-30}, {"mix": 0.4})
    )
    for one, same, other in zip(bare, none, mixed, strict=True):
        assert torch.equal(one.tensor, same.tensor)
        assert not torch.equal(one.tensor, other.tensor)
        for name in ("box", "transform", "mask"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_mixture_has_the_power_of_both_in_their_shares() -> None:
    levels = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(5))
    place, share = torch.tensor([2, 0, 1]), torch.tensor([0.4, 0.0, 0.1])
    power = levels.exp()
    other = share.view(-1, 1, 1).float()
    found = blend_levels(levels, place, share)
    torch.testing.assert_close(found.exp(), (1 - other) * power + other * power[place])
    assert torch.equal(found[1], levels[1])
    waves = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(6))
    mixed = blend_waves(waves, torch.tensor([1, 0]), torch.tensor([0.25, 0.0]))
    assert torch.equal(mixed[1], waves[1])
    assert float((mixed[0] * waves[1]).mean()) == pytest.approx(0.5, abs=0.02)
    assert float(mixed[0].square().mean()) == pytest.approx(1, abs=0.03)


def test_partners_are_other_rows_of_a_lane_each_as_likely() -> None:
    counts = torch.zeros(32, 32)
    for step in range(300):
        part = BatchPart(0, step, slice(0, 32), 32, generator(0, step), torch.device("cpu"))
        assert part.lane == 4
        counts[torch.arange(32), part.partners()] += 1
    lane = torch.block_diag(*[torch.ones(4, 4) - torch.eye(4)] * 8)
    assert torch.equal(counts > 0, lane > 0)
    assert float(counts[lane > 0].min()) > 60
