"""Time of a batch's views by Manta, against torchvision v2 transforms sample by sample.

    python benchmarks/views.py [--threads 2] [--repeats 5]

Both take the same decoded uint8 images in memory and give normalised float32 views. Prints
milliseconds per batch (the best of several) and how many times as long torchvision takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from manta.batch import ViewNeeds
from manta.modalities.image.views import PRESETS, ImageViews, ImageViewsConfig, ViewSpec

SETTINGS = ((32, 32, 256), (256, 224, 32))  # side of the source and of a global view, batch size


def torchvision_transform(spec: ViewSpec, views: ImageViews) -> v2.Compose:
    """Return `spec` as torchvision transforms.

    The kernel of the blur is SimCLR's tenth of the image.
    """
    kernel = spec.size // 10 | 1
    return v2.Compose(
        [
            v2.RandomResizedCrop(spec.size, scale=spec.crop, antialias=True),
            v2.RandomHorizontalFlip(spec.flip),
            v2.RandomApply([v2.ColorJitter(*spec.jitter)], spec.jitter_prob),
            v2.RandomGrayscale(spec.grayscale),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], spec.blur),
            v2.RandomSolarize(128, spec.solarize),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(views.mean, views.std),
        ]
    )


def milliseconds(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the best time of each, run in turn so that a busy machine is busy for all."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats + 1):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], 1000 * (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    head = f"{'preset':<10} {'px':>4} {'batch':>6} {'views':>6}"
    print(f"{head} {'manta ms':>9} {'torchvision ms':>15} {'ratio':>6}")
    for source, size, batch in SETTINGS:
        images = torch.randint(0, 256, (batch, 3, source, source), dtype=torch.uint8)
        index = torch.arange(batch)
        for preset in PRESETS:
            needs = ViewNeeds(local_views=6 if preset == "multicrop" else 0)
            views = ImageViews(
                ImageViewsConfig.model_validate({"preset": preset}), needs, image_size=size
            )
            transforms = [torchvision_transform(spec, views) for spec in views.specs]

            def manta(
                views: ImageViews = views, images: Tensor = images, index: Tensor = index
            ) -> None:
                views({"image": images}, index, seed=0, step=0, global_batch=len(images))

            def torchvision(
                transforms: list[v2.Compose] = transforms, images: Tensor = images
            ) -> None:
                for transform in transforms:
                    torch.stack([transform(image) for image in images])

            ours, theirs = milliseconds([manta, torchvision], options.repeats)
            setting = f"{preset:<10} {size:>4} {batch:>6} {len(views.specs):>6}"
            print(f"{setting} {ours:>9.1f} {theirs:>15.1f} {theirs / ours:>6.1f}")


if __name__ == "__main__":
    main()
