"""The hierarchical contrast of TS2Vec against its algorithm in NumPy, and on parts of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.hierarchical import Frames, hierarchical_contrast

Array = np.ndarray


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(anchor: Array, positive: Array, others: list[Array]) -> float:
    """Return what an anchor's pair costs, beside others."""
    logits = np.array([anchor @ positive, *(anchor @ other for other in others)])
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[0])


def of_one_scale(rows: list[tuple[Array, Array]], mine: int, alpha: float) -> float:
    """Return a sample's loss at one scale; `rows` are pairs `[T, D]` of all samples."""
    pair = rows[mine]
    length = len(pair[0])
    terms = []
    for time in range(length):
        for view in (0, 1):
            anchor, positive = pair[view][time], pair[1 - view][time]
            elsewhere = [one[t] for one in pair for t in range(length) if t != time]
            alike = [row for place, row in enumerate(rows) if place != mine and len(row[0]) > time]
            others = [one[time] for row in alike for one in row]
            over_time = cross_entropy(anchor, positive, elsewhere) if length > 1 else 0.0
            over_samples = cross_entropy(anchor, positive, others)
            terms.append(alpha * over_samples + (1 - alpha) * over_time)
    return float(np.mean(terms))


def reference(rows: list[tuple[Array, Array]], alpha: float) -> float:
    """Return the loss of samples of any lengths."""
    sums, scales = [0.0] * len(rows), [0] * len(rows)
    is_open = [True] * len(rows)
    while any(is_open):
        for mine in range(len(rows)):
            if is_open[mine]:
                sums[mine] += of_one_scale(rows, mine, alpha)
                scales[mine] += 1
                is_open[mine] = len(rows[mine][0]) > 1
        rows = [(halved(first), halved(second)) for first, second in rows]
    return float(np.mean([total / count for total, count in zip(sums, scales, strict=True)]))


def halved(frames: Array) -> Array:
    half = len(frames) // 2
    return np.maximum(frames[: 2 * half : 2], frames[1 : 2 * half : 2]) if half else frames


@pytest.mark.parametrize("lengths", [[9] * 4, [9, 1, 4, 7]], ids=["equal", "unequal"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_it_is_the_papers(lengths: list[int], alpha: float) -> None:
    first, second = normal(4, 5, 9), normal(4, 5, 9, seed=1)
    rows = [
        (first[row, :, :length].T.numpy(), second[row, :, :length].T.numpy())
        for row, length in enumerate(lengths)
    ]
    counts = torch.tensor(lengths).unsqueeze(1)
    found = hierarchical_contrast(first, second, counts, instances=alpha)
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(reference(rows, alpha), rel=1e-12)


def test_parts_of_a_batch_are_the_batch_with_gradients_in_their_mean() -> None:
    frames, counts = normal(2, 4, 5, 6), torch.tensor([[6], [0], [3], [5]])
    whole = frames.clone().requires_grad_()
    hierarchical_contrast(*whole, counts).backward()
    parts = frames.clone().requires_grad_()
    losses = [
        hierarchical_contrast(
            *parts[:, at : at + 2],
            counts[at : at + 2],
            keys=Frames(parts[0], parts[1], counts),
            offset=at,
        )
        for at in (0, 2)
    ]
    torch.stack(losses).mean().backward()
    assert whole.grad is not None
    torch.testing.assert_close(parts.grad, whole.grad)
    assert torch.isfinite(whole.grad).all()
    assert not whole.grad[:, 1].any()  # a sample without common frames
    assert not whole.grad[:, 2, :, 3:].any()  # what is behind a sample's end


def test_frames_on_two_axes_of_one_column_are_a_series() -> None:
    first, second = normal(3, 4, 8), normal(3, 4, 8, seed=1)
    counts = torch.tensor([[8], [5], [2]])
    on_a_line = hierarchical_contrast(first, second, counts)
    both = torch.cat([counts, torch.ones_like(counts)], dim=1)
    on_a_grid = hierarchical_contrast(first.unsqueeze(3), second.unsqueeze(3), both)
    torch.testing.assert_close(on_a_grid, on_a_line)
    square = normal(3, 4, 4, 4)
    counts = torch.full((3, 2), 4)
    assert float(hierarchical_contrast(square, square.flip(2), counts)) > 0


def test_shapes_that_do_not_fit_are_refused() -> None:
    first = normal(3, 4, 8)
    with pytest.raises(ConfigError, match="do not fit"):
        hierarchical_contrast(first, first, torch.full((3, 2), 8))
    counts = torch.full((3, 1), 8)
    with pytest.raises(ConfigError, match="do not fit"):
        hierarchical_contrast(first, first, counts, keys=Frames(first, first, counts), offset=1)
