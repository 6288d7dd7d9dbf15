"""Images per second: Manta end to end against its limit and against lightly's SimCLR, in one run.

    python benchmarks/throughput.py [--data 'cifar10/train-*.parquet'] [--rounds 3]

The limit is the same training step (views, forward, backward, update) on one batch that lies
decoded in memory: no ingest, no Ray, no decoding. lightly is its documented SimCLR loop: PIL
transforms, a DataLoader with two workers, images already decoded in memory, float32. Encoder, image
size, batch and threads are equal. Every part is a process of its own; parts take turns, so that a
drift of the machine meets all of them; medians are compared.

lightly is needed for its part: pip install --no-deps lightly lightly-utils
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from manta.spec import Spec

BATCH, SIZE, ENCODER, THREADS = 256, 32, "resnet10t", 2
WARM, TIMED = 4, 24
RECIPE = Path(__file__).resolve().parents[1] / "jobs/recipes/simclr-cifar10.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="Parquet of 32 px images; without it, images are drawn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=("limit", "lightly"), help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="bf16", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.part == "limit":
        print(limit(words.precision))
    elif words.part == "lightly":
        print(lightly(words.data))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            compare(words.data or draw(Path(scratch)), words.rounds, Path(scratch))


def compare(data: str, rounds: int, scratch: Path) -> None:
    """Run all parts in turns, and print medians and ratios."""
    rates: dict[str, list[float]] = {}
    firsts, waits = [], []
    for number in range(rounds):
        for precision in ("bf16", "float32"):
            rates.setdefault(f"limit {precision}", []).append(part("limit", data, precision))
            summary = manta(data, precision, scratch, f"{precision}-{number}")
            rates.setdefault(f"manta {precision}", []).append(summary["images_per_second"])
            waits.append(summary["input_wait_fraction"])
            if number:  # the first run ingests
                firsts.append(summary["first_step_seconds"])
        rates.setdefault("lightly float32", []).append(part("lightly", data, "float32"))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{ENCODER}, {SIZE} px, batch {BATCH}, {THREADS} threads, medians of {rounds}")
    for name, values in rates.items():
        every = ", ".join(f"{value:.0f}" for value in values)
        print(f"  {name:<16} {medians[name]:7.0f} images/s   ({every})")
    for precision, floor in (("bf16", 1.6), ("float32", 1.25)):
        rate = medians[f"manta {precision}"]
        of_limit, of_lightly = (
            rate / medians[f"limit {precision}"],
            rate / medians["lightly float32"],
        )
        print(f"manta / limit    {precision:<8} {of_limit:.2f}   (target 0.85)")
        print(f"manta / lightly  {precision:<8} {of_lightly:.2f}   (target {floor})")
    first, wait = statistics.median(firsts or [float("nan")]), statistics.median(waits)
    print(f"waiting for input {wait:.1%}; first step after {first:.1f} s (target 20)")


def part(name: str, data: str, precision: str) -> float:
    """Run one part in a process of its own; return its images per second."""
    command = [sys.executable, __file__, "--part", name, "--precision", precision, "--data", data]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def manta(data: str, precision: str, scratch: Path, name: str) -> dict[str, float]:
    """Run a training command; return its summary."""
    summary = scratch / "summary.json"
    changes = [
        f"data.source={data}",
        "data.limit=16000",
        f"train.precision={precision}",
        "train.epochs=1",
        "evaluation.evaluators=[{name: rank}]",
        "evaluation.bank_rows=256",
        "evaluation.query_rows=256",
        "tracking.register_model=false",
    ]
    options = ["--name", name, "--runs", str(scratch / "runs"), "--summary", str(summary)]
    command = [sys.executable, "-m", "manta.cli", "train", str(RECIPE), *changes, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"manta failed:\n{done.stdout}\n{done.stderr}")
    return dict(json.loads(summary.read_text()))


def limit(precision: str) -> float:
    """Return the images per second of training steps on one batch in memory."""
    import torch

    from manta import encoders, objectives
    from manta.batch import DataFacts
    from manta.config import load
    from manta.memory import keep_freed_memory
    from manta.training.step import TrainStep

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    keep_freed_memory()  # as a training worker does
    experiment = load(RECIPE, [f"train.precision={precision}", f"train.batch_size={BATCH}"])
    encoder = encoders.build(experiment.encoder, Spec.image(SIZE))
    objective = objectives.build(experiment.objective, encoder, DataFacts(50_000, SIZE))
    step = TrainStep(experiment, objective, device=torch.device("cpu"), total_steps=100)
    images = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
    index = torch.arange(BATCH)
    for number in range(WARM):
        step(images, index, number)
    start = time.perf_counter()
    for number in range(TIMED):
        step(images, index, WARM + number)
    return TIMED * BATCH / (time.perf_counter() - start)


def lightly(data: str) -> float:
    """Return the images per second of lightly's SimCLR loop."""
    import numpy as np
    import timm
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms.simclr_transform import SimCLRTransform
    from PIL import Image

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)

    class Images(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.pixels = [
                np.asarray(Image.open(io.BytesIO(b)).convert("RGB"))
                for b in image_bytes(data, 10_000)
            ]
            self.transform = SimCLRTransform(input_size=SIZE, gaussian_blur=0.0)

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, number: int) -> list[torch.Tensor]:
            return self.transform(Image.fromarray(self.pixels[number]))

    loader = torch.utils.data.DataLoader(
        Images(), BATCH, shuffle=True, drop_last=True, num_workers=2
    )
    backbone = timm.create_model(ENCODER, num_classes=0)
    head = SimCLRProjectionHead(backbone.num_features, 512, 128)
    criterion = NTXentLoss(temperature=0.2)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.06)
    start, done = 0.0, 0
    for number, (a, b) in enumerate(loader):
        loss = criterion(head(backbone(a).flatten(1)), head(backbone(b).flatten(1)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if number + 1 == WARM:
            start = time.perf_counter()
        elif number + 1 == WARM + TIMED:
            done = TIMED * BATCH
            break
    return done / (time.perf_counter() - start)


def image_bytes(data: str, count: int) -> list[bytes]:
    """Return the encoded bytes of the first `count` images."""
    import glob

    import pyarrow.parquet as pq

    images: list[bytes] = []
    for path in sorted(glob.glob(data)):
        rows = pq.read_table(path, columns=["image"])["image"].to_pylist()
        images += [row["bytes"] for row in rows]
        if len(images) >= count:
            break
    return images[:count]


def draw(folder: Path, count: int = 16_000) -> str:
    """Write a Parquet file of JPEGs of coloured noise blobs; return its path."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        small = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        rows.append({"bytes": buffer.getvalue(), "path": f"{number}.jpg"})
    pq.write_table(pa.table({"image": rows}), folder / "drawn.parquet")
    return str(folder / "drawn.parquet")


if __name__ == "__main__":
    main()
