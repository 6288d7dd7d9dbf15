"""Batch style standardisation: what it keeps, what it takes, and that it is off by default."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pydantic import ValidationError
from torch import Tensor

from manta.batch import Batch, ViewNeeds
from manta.modalities.image.views import ImageViews, ImageViewsConfig, specify
from manta.modalities.image.views.style import restyle

B, SIZE = 8, 32


def pictures(seed: int = 0) -> Tensor:
    """Return noise at an eighth of the size, enlarged, in colours of its own for each picture.

    It is never near black or white.
    """
    stream = torch.Generator().manual_seed(seed)
    noise = torch.rand(B, 3, SIZE // 8, SIZE // 8, generator=stream)
    smooth = torch.nn.functional.interpolate(noise, (SIZE, SIZE), mode="bilinear") - 0.5
    colour = 0.3 + 0.4 * torch.rand(B, 3, 1, 1, generator=stream)
    return ((0.2 * smooth + colour) * 255).round().to(torch.uint8)


def batch(
    rows: slice | None = None, *, images: Tensor | None = None, step: int = 0, **config: object
) -> Batch:
    needs = ViewNeeds(preset="plain", mask_ratio=0.5, mask_grid=(4, 4))
    views = ImageViews(ImageViewsConfig.model_validate(config), needs, image_size=SIZE)
    images, rows = pictures() if images is None else images, rows or slice(0, B)
    return views(
        {"image": images[rows]}, torch.arange(B)[rows], seed=0, step=step, rows=rows, global_batch=B
    )


def test_low_amplitudes_are_the_references_and_the_rest_is_the_images_own() -> None:
    images = pictures().double() / 255
    styled = restyle(images, images[3], 0.25)
    before, after, reference = (torch.fft.fft2(x) for x in (images, styled, images[3]))
    for row in range(SIZE):
        for column in range(SIZE):
            # In cycles a pixel.
            frequency = max(min(row, SIZE - row), min(column, SIZE - column)) / SIZE
            own = before[..., row, column]
            low = frequency <= 0.25  # the centred square of half the side has a quarter of the area
            expected = (
                reference[..., row, column].abs() * torch.exp(1j * own.angle()) if low else own
            )
            torch.testing.assert_close(
                after[..., row, column], expected.expand_as(own), atol=1e-6, rtol=1e-6
            )


def test_the_reference_itself_is_left_as_it_is() -> None:
    images = pictures().float() / 255
    for area in (0.02, 0.3, 1.0):
        torch.testing.assert_close(
            restyle(images, images[5], area)[5], images[5], atol=1e-5, rtol=0
        )


def test_a_batch_of_flat_colours_takes_one_colour() -> None:
    colours = torch.linspace(0.2, 0.9, 3 * B).view(B, 3, 1, 1).expand(-1, -1, 16, 16).contiguous()
    styled = restyle(colours, colours[2], 0.02)
    torch.testing.assert_close(styled, colours[2].expand_as(styled), atol=1e-5, rtol=0)


def test_colours_stay_in_range() -> None:
    images = (torch.rand(B, 3, 16, 20, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    styled = restyle(images, torch.full((3, 16, 20), 0.5) + images[0] / 2, 1.0)
    assert styled.shape == images.shape
    assert 0 <= float(styled.min()) <= float(styled.max()) <= 1


def test_views_take_different_styles_of_images_of_the_batch() -> None:
    actual = batch(
        batch_style=1.0,
        batch_style_area=(0.05, 0.05),
        flip=0,
        crop_scale=(1, 1),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    means = [view.data.mean((2, 3)) for view in actual]
    own = pictures().float().mean((2, 3)) / 255
    chosen = []
    for mean in means:
        # One style for the batch.
        torch.testing.assert_close(mean, mean[:1].expand_as(mean), atol=1e-3, rtol=0)
        chosen.append(int((own - mean[0]).norm(dim=1).argmin()))
        torch.testing.assert_close(mean[0], own[chosen[-1]], atol=1e-3, rtol=0)
    assert chosen[0] != chosen[1]


def test_off_it_draws_nothing_and_on_it_changes_no_other_number() -> None:
    plain, off, on = (
        batch(),
        batch(batch_style=0.0, batch_style_area=(0.3, 0.4)),
        batch(batch_style=1.0),
    )
    gentle = batch(batch_style=1.0, strength=0)
    for i, view in enumerate(plain):
        assert torch.equal(off.views[i].data, view.data)
        assert not torch.allclose(on.views[i].data, view.data, atol=0.1)
        assert torch.equal(gentle.views[i].data, batch(strength=0).views[i].data)
        for name in ("box", "flip", "mask", "transform"):
            assert torch.equal(getattr(on.views[i], name), getattr(view, name)), name


def test_it_is_as_frequent_as_asked_and_the_same_when_drawn_again() -> None:
    styled = [
        not torch.equal(a.data, b.data)
        for step in range(60)
        for a, b in zip(batch(step=step), batch(step=step, batch_style=0.3), strict=True)
    ]
    assert 0.15 < sum(styled) / len(styled) < 0.45
    for first, second in zip(batch(batch_style=1.0), batch(batch_style=1.0), strict=True):
        assert torch.equal(first.data, second.data)


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    size = B // world
    actual = [
        batch(slice(rank * size, (rank + 1) * size), batch_style=1.0, step=step)
        for step in range(3)
    ]
    torch.save([view.data for part in actual for view in part], f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_take_the_style_of_the_global_batch(tmp_path: Path) -> None:
    world = 2
    mp.start_processes(worker, args=(world, str(tmp_path)), nprocs=world, start_method="spawn")
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]
    alone = [view.data for step in range(3) for view in batch(batch_style=1.0, step=step)]
    for *shares, whole in zip(*parts, alone, strict=True):
        torch.testing.assert_close(torch.cat(shares), whole, atol=1e-5, rtol=0)


def test_its_config() -> None:
    first, second = specify(
        ImageViewsConfig(batch_style=0.6, batch_style_area=(0.1, 0.2), strength=0.5),
        ViewNeeds(),
        image_size=32,
    )
    assert (
        (first.batch_style, first.style_area)
        == (second.batch_style, second.style_area)
        == (0.3, (0.1, 0.2))
    )
    for wrong in (
        {"batch_style": 1.1},
        {"batch_style_area": (0.0, 0.5)},
        {"batch_style_area": (0.5, 0.1)},
    ):
        with pytest.raises(ValidationError):
            ImageViewsConfig.model_validate(wrong)
