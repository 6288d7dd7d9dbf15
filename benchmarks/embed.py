"""Costs of embedding: `manta embed` against a PyTorch loop, memory, and kNN against scikit-learn.

    python benchmarks/embed.py [--part rate|memory|knn] [--rounds 3]

rate    rows/s of the job, once its actor embeds, against a DataLoader with one worker over the same
        JPEG files, same encoder (resnet18 at 64 px), same batch and number of torch threads, in
        turns
memory  the largest resident size of the actor over 10,000 and over 200,000 rows of 32 px
knn     50,000 x 50,000 features of 512 numbers, k = 200, ten classes: Manta's evaluator against
        scikit-learn's brute force on a part of the queries (its time grows with their number), and
        the memory that Manta adds

Images are drawn, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from manta.spec import Spec

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
THREADS, BATCH, SIDE, ROWS = 2, 256, 64, 12_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("rate", "memory", "knn"), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inner", nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.inner:
        name, folder = words.inner
        measurement = {"loop": loop, "job": job, "large": large}[name]
        print(json.dumps(measurement(Path(folder))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        parts = {
            "rate": lambda: rate(Path(scratch), words.rounds),
            "memory": lambda: memory(Path(scratch)),
            "knn": knn,
        }
        for part in words.part or parts:
            parts[part]()


def rate(scratch: Path, rounds: int) -> None:
    """Print the medians of both, and their ratio."""
    draw(scratch / "images", ROWS, SIDE)
    save_encoder(scratch / "encoder", "resnet18", SIDE)
    rates: dict[str, list[float]] = {"loop": [], "job": []}
    for _ in range(rounds):
        for name in rates:
            rates[name].append(inner(name, scratch))
    own, theirs = statistics.median(rates["job"]), statistics.median(rates["loop"])
    print(f"rows/s, medians of {rounds}: PyTorch loop {theirs:.0f}, manta embed {own:.0f}")
    print(f"all: {rates}")
    print(f"manta / loop {own / theirs:.2f} (target: at least 1.0)")


def inner(name: str, scratch: Path) -> float:
    """Run one measurement in a process of its own; return its number."""
    done = subprocess.run(
        [sys.executable, __file__, "--inner", name, str(scratch)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def loop(scratch: Path) -> float:
    """Return rows/s of a DataLoader and a model in a loop, as a user would write them."""
    import numpy as np
    import torch
    from PIL import Image

    from manta.serving import load_exported

    torch.set_num_threads(THREADS)
    paths = sorted((scratch / "images").glob("*.jpg"))
    exported = load_exported(scratch / "encoder").to(memory_format=torch.channels_last)
    mean, std = exported.preprocess.mean, exported.preprocess.std

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> torch.Tensor:
            pixels = np.array(Image.open(paths[number]).convert("RGB"))
            return torch.from_numpy(pixels).permute(2, 0, 1)

    loader = torch.utils.data.DataLoader(Images(), BATCH, num_workers=1)
    vectors, start, seen = [], 0.0, 0
    with torch.inference_mode():
        for number, images in enumerate(loader):
            normalised = (images.float() / 255 - mean) / std
            normalised = normalised.contiguous(memory_format=torch.channels_last)
            vectors.append(exported.encoder.embed(normalised))
            # The first two batches are the start, as the first part of the job is.
            if number == 1:
                start = time.perf_counter()
            elif number > 1:
                seen += len(images)
    rate = seen / (time.perf_counter() - start)
    np.save(scratch / "loop.npy", torch.cat(vectors).numpy())
    return rate


def job(scratch: Path) -> float:
    """Return rows/s of `manta embed`, from the first part to the last.

    The actor's start is not counted, as the loop's imports are not.
    """
    import shutil

    import manta.serving.embed as module
    from manta.cluster import connect
    from manta.data import prepare
    from manta.serving.job import Pool

    module.LEAST_CHUNK = 1_024
    connect(cpus=4)
    out = scratch / "out.parquet"
    shutil.rmtree(out, ignore_errors=True)
    dataset = prepare(str(scratch / "images"), str(scratch / "cache"))
    marks: list[tuple[float, int]] = []
    module.embed(
        "benchmark",
        scratch / "encoder",
        dataset,
        str(out),
        pool=Pool(threads=THREADS, batch=BATCH),
        progress=lambda done, _rows: marks.append((time.perf_counter(), done)),
    )
    (first, after), (last, rows) = marks[1], marks[-1]
    return (rows - after) / (last - first)


def memory(scratch: Path) -> None:
    """Print the actor's peak for few and for many rows."""
    save_encoder(scratch / "small", "test_resnet", 32)
    peaks = []
    for rows in (10_000, 200_000):
        folder = scratch / f"rows-{rows}"
        folder.mkdir()
        draw_table(folder / "drawn.parquet", rows)
        command = [sys.executable, "-m", "manta.cli", "ingest"]
        places = [str(folder / "drawn.parquet"), str(folder / "data")]
        subprocess.run([*command, *places], check=True, capture_output=True)
        peaks.append(inner("large", folder))
    few, many = peaks
    print(
        f"peak resident size of the actor: {few:.0f} MiB at 10,000 rows, "
        f"{many:.0f} MiB at 200,000 ({many / few:.2f})"
    )


def large(folder: Path) -> float:
    """Return the MiB that a process has held at most after embedding every chunk.

    Chunks come one after the other, as in an actor.
    """
    from manta.data import open_dataset
    from manta.serving.embed import LEAST_CHUNK
    from manta.serving.embedder import Embedder
    from manta.serving.job import Job, Pool

    manifest = open_dataset(str(folder / "data"))
    files = {path.name: path.read_bytes() for path in (folder.parent / "small").iterdir()}
    job = Job("benchmark", "", manifest.location, manifest.digest, manifest.rows, LEAST_CHUNK)
    (folder / "out").mkdir()
    actor = Embedder((files, None), str(folder / "out"), job, Pool(threads=THREADS))
    for chunk in range(-(-manifest.rows // LEAST_CHUNK)):
        actor.write(chunk)
    # Not getrusage: its maximum is the parent's too, which has drawn the rows.
    status = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line for line in status if line.startswith("VmHWM")]
    return int(peak.split()[1]) / 1024


def knn() -> None:
    """Print seconds of both, and memory."""
    import numpy as np
    import torch
    from sklearn.neighbors import KNeighborsClassifier

    from manta.evaluators import EVALUATORS, Features

    torch.set_num_threads(THREADS)
    count, width, part, k = 50_000, 512, 2_000, 200
    stream = torch.Generator().manual_seed(0)
    centres = torch.randn(10, width, generator=stream)
    labels = torch.randint(0, 10, (2 * count,), generator=stream)
    vectors = centres[labels] + 4 * torch.randn(2 * count, width, generator=stream)
    bank, queries = torch.nn.functional.normalize(vectors, dim=1).split(count)
    features = Features(bank, queries, labels[:count], labels[count:])
    kind = EVALUATORS["knn"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    mine = kind(kind.Config(name="knn", k=k)).compute(features)["knn_top1"]
    seconds = time.perf_counter() - start
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    theirs = KNeighborsClassifier(k, algorithm="brute", metric="cosine", n_jobs=THREADS)
    theirs.fit(bank.numpy(), labels[:count].numpy())
    start = time.perf_counter()
    predictions = theirs.predict(queries[:part].numpy())
    their_seconds = (time.perf_counter() - start) * count / part
    accuracy = float(np.mean(predictions == labels[count : count + part].numpy()))
    print(
        f"kNN 50k x 50k: manta {seconds:.1f} s and {added:.0f} MiB more; "
        f"scikit-learn {their_seconds:.0f} s (by {part} queries)"
    )
    print(
        f"ratio {their_seconds / seconds:.1f}; accuracy {mine:.4f}, "
        f"scikit-learn's unweighted {accuracy:.4f} on the part"
    )


def save_encoder(folder: Path, name: str, side: int) -> None:
    import torch

    from manta.encoders import EncoderConfig, build
    from manta.modalities.image.preprocess import ImagePreprocess
    from manta.serving import ExportedEncoder
    from manta.serving import save_encoder as save

    torch.manual_seed(0)
    config = EncoderConfig(name=name)
    encoder = build(config, Spec.image(side))
    save(
        ExportedEncoder(encoder, ImagePreprocess(side, (0.5,) * 3, (0.25,) * 3)),
        folder,
        config=config,
    )


def picture(number: int, side: int) -> bytes:
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def draw(folder: Path, count: int, side: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06d}.jpg").write_bytes(picture(number, side))


def draw_table(path: Path, count: int) -> None:
    """Write few distinct pictures as many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    distinct = [picture(number, 32) for number in range(1_000)]
    rows = [{"bytes": distinct[number % 1_000], "path": f"{number}.jpg"} for number in range(count)]
    pq.write_table(pa.table({"image": rows}), path)


if __name__ == "__main__":
    main()
