"""Kinds of masks: how many tokens are hidden, where, and that a row's do not depend on others."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manta.batch import Mask, ViewNeeds
from manta.errors import ConfigError
from manta.views import BatchPart, draw_masks, generator
from manta.views.masks import MASKS, Tokens, draw_mask, mask_kind
from manta.views.masks.block import box_sides

ROOT = Path(__file__).resolve().parents[2]
HUBERT = Mask("span", settings={"start": 0.08, "length": 10})
JEPA = Mask("multi_block", settings={"count": 4, "scale": (0.15, 0.2), "aspect": (0.75, 1.5)})
T5 = Mask("span", 0.15, {"length": 3, "vary": True})
ONE_OF_EACH = (*(Mask(kind, 0.5) for kind in MASKS), HUBERT, T5, JEPA)
RAGGED = tuple(mask for mask in ONE_OF_EACH if MASKS[mask.kind].ragged)


def drawn(
    mask: Mask,
    grid: tuple[int, ...],
    lengths: list[int] | None = None,
    *,
    rows: slice | None = None,
    batch: int = 16,
    step: int = 3,
) -> Tensor:
    """Draw the masks of some rows of a batch, padded to `grid` where rows have lengths."""
    which = slice(0, batch) if rows is None else rows
    part = BatchPart(7, step, which, batch, generator(7, step), torch.device("cpu"))
    own = None if lengths is None else torch.tensor(lengths)[which]
    return draw_mask(mask, Tokens(grid, part, own))


def runs(row: Tensor) -> list[int]:
    """Return the lengths of the stretches of True."""
    text = "".join("x" if hidden else " " for hidden in row.tolist())
    return [len(run) for run in text.split()]


@settings(deadline=None, max_examples=60)
@given(
    mask=st.sampled_from(ONE_OF_EACH),
    ratio=st.floats(0.01, 0.99),
    grid=st.lists(st.integers(2, 7), min_size=1, max_size=3).map(tuple),
)
def test_a_grid_hides_at_least_one_token_and_leaves_one(
    mask: Mask, ratio: float, grid: tuple[int, ...]
) -> None:
    kind = mask_kind(mask)
    if len(grid) < kind.axes or mask.kind == "uniform":
        return
    hidden = drawn(Mask(mask.kind, ratio, mask.settings), grid, batch=4)
    counts = hidden.sum(1).tolist()
    assert (hidden.shape, hidden.dtype) == ((4, math.prod(grid)), torch.bool)
    assert 1 <= min(counts) <= max(counts) < math.prod(grid)
    if kind.equal:
        assert len(set(counts)) == 1


@settings(deadline=None, max_examples=60)
@given(
    mask=st.sampled_from(RAGGED),
    lengths=st.lists(st.integers(0, 40), min_size=4, max_size=4),
    more=st.integers(0, 20),
)
def test_ragged_rows_hide_their_own_tokens_however_far_they_are_padded(
    mask: Mask, lengths: list[int], more: int
) -> None:
    longest = max(*lengths, 1)
    hidden = drawn(mask, (longest,), lengths, batch=4)
    for row, length in zip(hidden, lengths, strict=True):
        assert not row[length:].any()
        count = int(row.sum())
        assert count == length if length < 2 else 1 <= count < length
    assert torch.equal(drawn(mask, (longest + more,), lengths, batch=4)[:, :longest], hidden)


@pytest.mark.parametrize("mask", ONE_OF_EACH, ids=str)
def test_masks_depend_on_no_other_row(mask: Mask) -> None:
    whole = drawn(mask, (8, 6), batch=6)
    parts = [drawn(mask, (8, 6), rows=slice(at, at + 2), batch=6) for at in (0, 2, 4)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(drawn(mask, (8, 6), batch=6, step=4), whole)
    assert len({tuple(row.tolist()) for row in whole}) > 1
    if mask not in RAGGED:
        return
    lengths = [30, 4, 21, 1, 40, 9]
    ragged = drawn(mask, (40,), lengths, batch=6)
    second = drawn(mask, (21,), lengths, rows=slice(2, 4), batch=6)
    assert torch.equal(second, ragged[2:4, :21])


def test_the_uniform_mask_of_a_grid_is_that_of_earlier_versions() -> None:
    shape: dict[str, Any] = {"rows": slice(0, 16), "global_batch": 16}
    before = draw_masks(64, hidden=48, stream=generator(7, 3), device=torch.device("cpu"), **shape)
    assert torch.equal(drawn(Mask(), (8, 8)), before)
    assert ViewNeeds(mask_ratio=0.75).mask == Mask()
    assert str(ViewNeeds(mask=HUBERT)) == "2 global, masked"


@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.8])
def test_shares_are_exact_where_rows_hide_equally_many(ratio: float) -> None:
    grid = (6, 10, 10)
    for kind in ("uniform", "group"):
        assert drawn(Mask(kind, ratio), grid).sum(1).unique().tolist() == [ratio * 600], kind
    tubes = drawn(Mask("tube", ratio), grid).view(16, 6, 100)
    assert (tubes == tubes[:, :1]).all()
    assert tubes[:, 0].sum(1).unique().tolist() == [ratio * 100]
    lengths = [100, 60, 20, 40]
    for kind in ("uniform", "span", "group", "block"):
        counts = drawn(Mask(kind, ratio), (100,), lengths, batch=4).sum(1)
        assert counts.tolist() == [round(ratio * length) for length in lengths], kind


def test_tokens_are_hidden_equally_often_but_at_the_ends_of_a_row() -> None:
    for mask in (
        Mask("uniform", 0.4),
        Mask("group", 0.4, {"size": 4}),
        Mask("span", 0.4, {"length": 3}),
    ):
        often = drawn(mask, (60,), batch=3000).float().mean(0)
        assert (often - 0.4)[4:-4].abs().max() < 0.06, mask


def test_spans_have_their_length() -> None:
    rows = drawn(Mask("span", 0.2, {"length": 5}), (200,), batch=400)
    lengths = [run for row in rows for run in runs(row)]
    assert {run % 5 for run in lengths} == {0}  # spans may touch
    assert sum(run == 5 for run in lengths) / len(lengths) > 0.6
    drawn_lengths = drawn(T5, (200,), batch=400)
    mean = sum(row.sum().item() for row in drawn_lengths) / sum(
        len(runs(row)) for row in drawn_lengths
    )
    assert 3 <= mean < 3.8  # spans that touch are one
    assert len({run for row in drawn_lengths for run in runs(row)}) > 6


def test_hubert_hides_what_the_paper_says() -> None:
    rows = drawn(HUBERT, (500,), batch=300)
    assert min(run for row in rows for run in runs(row)) >= 10
    # 0.08 of the tokens begin a span, without replacement and within the row.
    assert rows.float().mean().item() == pytest.approx(1 - (1 - 0.08) ** 10, abs=0.02)
    wav2vec = Mask("span", settings={"start": 0.065, "length": 10})
    assert drawn(wav2vec, (500,), batch=300).float().mean().item() == pytest.approx(0.49, abs=0.02)


def test_spans_of_a_grid_hide_a_time_at_all_of_the_other_axes() -> None:
    mask = drawn(Mask("span", 0.5, {"length": 3}), (4, 12)).view(16, 4, 12)
    assert (mask == mask[:, :1]).all()
    assert mask[:, 0].sum(1).unique().tolist() == [6]
    first = drawn(Mask("span", 0.5, {"length": 3, "axis": 0}), (12, 4)).view(16, 12, 4)
    assert torch.equal(first, mask.mT)


def test_a_block_is_one_box_at_a_place_of_each_row() -> None:
    rows = drawn(Mask("block", 0.4), (14, 14)).view(16, 14, 14)
    boxes = set()
    for row in rows:
        down, across = row.any(1).nonzero().squeeze(1), row.any(0).nonzero().squeeze(1)
        assert row[down[0] : down[-1] + 1, across[0] : across[-1] + 1].all()
        assert len(down) * len(across) == row.sum()
        boxes.add((len(down), len(across)))
    assert len(boxes) == 1  # rows of a batch have one size
    assert math.prod(boxes.pop()) / 196 == pytest.approx(0.4, abs=0.04)
    sizes = {
        tuple(drawn(Mask("block", 0.4), (14, 14), step=step).sum(1).tolist()) for step in range(9)
    }
    assert len(sizes) > 1  # and steps differ


@settings(deadline=None, max_examples=100)
@given(
    grid=st.lists(st.integers(1, 16), min_size=1, max_size=3).map(tuple),
    share=st.floats(0.05, 0.95),
    aspect=st.floats(0.3, 3),
)
def test_sides_of_a_box_fit_its_share(grid: tuple[int, ...], share: float, aspect: float) -> None:
    sides = box_sides(grid, share, [aspect] * (len(grid) - 1))
    volume, tokens = math.prod(sides), math.prod(grid)
    assert all(1 <= side <= most for side, most in zip(sides, grid, strict=True))
    assert volume < tokens or tokens == 1
    if min(grid) > 4:
        assert volume / tokens == pytest.approx(share, abs=0.2)


def test_jepa_hides_four_boxes() -> None:
    rows = drawn(JEPA, (14, 14), batch=64).float().mean(1)
    assert 0.15 < rows.min() < rows.max() <= 0.85
    assert 0.4 < rows.mean() < 0.6


def test_groups_are_connected() -> None:
    rows = drawn(Mask("group", 0.3, {"size": 12}), (12, 12), batch=40).view(40, 12, 12)
    single = drawn(Mask("uniform", 0.3), (12, 12), batch=40).view(40, 12, 12)

    def groups(row: Tensor) -> int:
        """Count the connected groups of a row."""
        left, count = {tuple(place) for place in row.nonzero().tolist()}, 0
        while left:
            count, reached = count + 1, [left.pop()]
            while reached:
                y, x = reached.pop()
                near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
                left -= near
                reached += near
        return count

    assert all(groups(row) <= 4 for row in rows)  # 43 tokens by 12
    assert min(groups(row) for row in single) > 6


@pytest.mark.parametrize(
    ("mask", "grid", "lengths", "message"),
    [
        (Mask("spam"), (8,), None, r"no mask is named 'spam'; did you mean 'span'\?"),
        (Mask("span", 0.5, {"size": 3}), (8,), None, "mask 'span': size: Extra inputs"),
        (Mask("span", 1.5), (8,), None, "mask 'span': ratio: .*less than or equal to 1"),
        (Mask("block", 0.5, {"scale": (0.5, 0.2)}), (8,), None, "scale 0.5, 0.2 is no range"),
        (Mask("tube"), (8,), None, "mask 'tube' needs a grid of 2 axes"),
        (Mask("tube"), (8,), [8, 4], "mask 'tube' needs samples of one size"),
        (Mask("span"), (4, 8), [8, 4], "mask 'span' needs samples of one size"),
    ],
)
def test_what_a_mask_cannot_do_is_one_line(
    mask: Mask, grid: tuple[int, ...], lengths: list[int] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        drawn(mask, grid, lengths, batch=2)


def test_a_package_adds_a_mask_by_an_entry_point(tmp_path: Path) -> None:
    page = (ROOT / "docs/modalities.md").read_text()
    (tmp_path / "ends.py").write_text(page.partition('title="ends.py"\n')[2].partition("```")[0])
    about = tmp_path / "ends-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ends\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[manta.masks]\nends = ends\n")
    code = """
import torch
from manta.batch import Mask
from manta.views import BatchPart, generator
from manta.views.masks import MASKS, Tokens, draw_mask
part = BatchPart(0, 0, slice(0, 2), 2, generator(0, 0), torch.device("cpu"))
mask = draw_mask(Mask("ends", 0.5), Tokens((4,), part, torch.tensor([4, 2])))
print("ends" in list(MASKS), mask.int().tolist())
"""
    path = os.pathsep.join([str(tmp_path), str(ROOT / "platform")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True [[0, 0, 1, 1], [0, 1, 0, 0]]\n"
