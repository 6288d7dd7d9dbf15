"""Views of sentences: what is changed, and that it depends on the sample alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from manta.batch import Ask, Batch, Mask, Next, Same, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.text import Text, TextConfig
from manta.modalities.text.learning import VocabularyLearner
from manta.modalities.text.views import TextViewsConfig
from manta.ragged import Ragged, rows_of
from manta.views import ViewPipeline

STATS = VocabularyLearner(300, 100, True)([b"one two three four five six seven eight"])
LENGTHS = [12, 3, 1, 30, 7, 18]
ROWS = len(LENGTHS)


def modality() -> Text:
    return Text(TextConfig(source="x", tokens=32), STATS)


def sentences() -> Ragged:
    """Return rows of numbers that are all different."""
    return Ragged(torch.arange(10, 10 + sum(LENGTHS), dtype=torch.int32), torch.tensor(LENGTHS))


def views_of(needs: ViewNeeds | None = None, **settings: Any) -> ViewPipeline[Any]:
    return modality().views(TextViewsConfig(**settings), needs or ViewNeeds())


def made(pipeline: ViewPipeline[Any], which: slice = slice(0, ROWS), step: int = 0) -> Batch:
    data, index = {"text": rows_of(sentences(), which)}, torch.arange(ROWS)[which]
    return pipeline(data, index, seed=0, step=step, rows=which, global_batch=ROWS)


def rows(view: Any) -> list[list[int]]:
    each = torch.split(view.data.values, view.data.lengths.tolist())
    return [row.tolist() for row in each]


ORIGINAL = [row.tolist() for row in torch.split(sentences().values, LENGTHS)]


def test_plain_views_and_strength_0_are_the_rows() -> None:
    for pipeline in (views_of(preset="plain"), views_of(strength=0)):
        assert all(rows(view) == ORIGINAL for view in made(pipeline))
    plain: Any = views_of().plain({"text": sentences()})
    assert torch.equal(plain.values, sentences().values)


def test_crops_are_stretches_of_the_row_and_the_box_says_which() -> None:
    view = made(views_of(preset="plain", crop=(0.3, 0.6))).views[0]
    for row, whole, (start, stop) in zip(
        rows(view), ORIGINAL, view.box.long().tolist(), strict=True
    ):
        assert row == whole[start:stop]
        assert 1 <= len(row) <= max(round(0.6 * len(whole)), 1)


def test_left_out_tokens_leave_the_others_in_order_and_one_at_least() -> None:
    view = made(views_of(preset="plain", delete=0.9)).views[0]
    for row, whole in zip(rows(view), ORIGINAL, strict=True):
        assert 1 <= len(row) < max(len(whole), 2)
        assert row == [token for token in whole if token in row]


def test_masked_stretches_are_within_the_row() -> None:
    mask = modality().vocabulary.mask
    view = made(views_of(preset="plain", mask=0.25, span=3)).views[0]
    for row, whole in zip(rows(view), ORIGINAL, strict=True):
        hidden = [token == mask for token in row]
        assert len(row) == len(whole)
        assert [t for t in row if t != mask] == [
            t for t, is_hidden in zip(whole, hidden, strict=True) if not is_hidden
        ]
        if len(row) >= 12:
            assert sum(hidden) >= 3
    assert sum(token == mask for token in rows(view)[0]) == 3


def test_tokens_are_replaced_by_ordinary_ones() -> None:
    vocabulary = modality().vocabulary
    view = made(views_of(preset="plain", replace=0.5)).views[0]
    changed = [
        new for row, whole in zip(rows(view), ORIGINAL, strict=True)
        for new, old in zip(row, whole, strict=True) if new != old
    ]  # fmt: skip
    assert 0.25 < len(changed) / sum(LENGTHS) < 0.75
    assert set(changed) <= set(vocabulary.ordinary.tolist())


def test_moved_tokens_stay_near() -> None:
    view = made(views_of(preset="plain", shuffle=2)).views[0]
    assert rows(view) != ORIGINAL
    for row, whole in zip(rows(view), ORIGINAL, strict=True):
        assert sorted(row) == whole
        assert all(abs(row.index(token) - place) <= 2 for place, token in enumerate(whole))


FULL: dict[str, Any] = {"delete": 0.2, "mask": 0.2, "replace": 0.2, "shuffle": 2, "crop": (0.5, 1)}


@pytest.mark.parametrize("preset", ["simclr", "byol", "multicrop", "plain"])
def test_views_of_a_part_are_the_part_of_the_views(preset: str) -> None:
    needs = ViewNeeds(local_views=2, mask_ratio=0.4, mask_grid=(32,))
    pipeline = views_of(needs, preset=preset, **FULL)
    whole = made(pipeline)
    assert [view.role for view in whole] == ["global", "global", "local", "local"]
    for which in (slice(0, 3), slice(3, 6), slice(2, 3)):
        for view, part in zip(whole, made(pipeline, which), strict=True):
            assert rows(part) == rows(view)[which]
            assert torch.equal(part.box, view.box[which])
            assert isinstance(view.mask, Tensor)
            width = part.mask.shape[1]
            assert torch.equal(part.mask, view.mask[which][:, :width])
            assert not view.mask[which][:, width:].any()


def test_two_views_and_two_steps_differ() -> None:
    pipeline = views_of(preset="simclr")
    a, b = (rows(view) for view in made(pipeline))
    assert a != b
    assert a != rows(made(pipeline, step=1).views[0])
    assert a == rows(made(pipeline).views[0])


def test_hidden_tokens_are_within_their_row() -> None:
    view = made(views_of(ViewNeeds(mask_ratio=0.5, mask_grid=(32,)), preset="plain")).views[0]
    there = torch.arange(view.mask.shape[1]) < view.data.lengths.unsqueeze(1)
    assert not (view.mask & ~there).any()
    assert view.mask[3].sum() == 15


def test_views_are_placed_from_others_and_a_target_is_clean() -> None:
    asks = (
        Ask("target"),
        Ask(after=0, gap=Same(), mask=Mask("span", 0.4, {"length": 2})),
        Ask(length=0.3),
        Ask(after=2, gap=Next(2), length=0.3),
    )
    target, same, first, later = made(views_of(ViewNeeds(asks=asks, mask_grid=(32,)), **FULL))
    assert (target.role, same.role) == ("target", "global")
    hidden = modality().vocabulary.mask
    for row, twin, box in zip(rows(target), rows(same), target.box.long().tolist(), strict=True):
        place = next(place for place, whole in enumerate(ORIGINAL) if row[0] in whole)
        assert row == ORIGINAL[place][box[0] : box[1]]
        assert len(twin) == len(row)
        assert sum(a in (b, hidden) for a, b in zip(twin, row, strict=True)) >= len(row) // 2
    assert torch.equal(target.box, same.box)
    assert target.mask is None
    assert same.mask is not None
    assert same.mask.any()
    assert (later.box - first.box)[[0, 3, 5], 0].tolist() == [2, 2, 2]


def test_views_of_one_window_leave_out_the_same_tokens() -> None:
    needs = ViewNeeds(asks=(Ask(), Ask(after=0, gap=Same())))
    a, b = made(views_of(needs, preset="plain", delete=0.3, shuffle=2, crop=(0.5, 1)))
    assert rows(a) == rows(b) != ORIGINAL


def test_a_view_is_shown_by_its_words() -> None:
    pipeline = views_of()
    view = made(pipeline).views[0]
    shown = pipeline.shown(view)
    assert shown.shape == (ROWS, 3, 64, 64)
    assert 0 <= shown.min() < shown.max() <= 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder.name=transformer"):
        views_of(ViewNeeds(mask_ratio=0.5))
    with pytest.raises(ValueError, match="crop must ascend"):
        TextViewsConfig(crop=(0.9, 0.2))
