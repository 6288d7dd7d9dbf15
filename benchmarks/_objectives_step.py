"""The cost that an objective's loss adds to a step, beside SimCLR's with equal views and encoders.

A step is forward, backward, clipping, the optimizer and what follows it, on images of noise whose
views are made beforehand. Its time has two parts. *Encoders*: every call of every encoder that the
objective holds, teachers and partners too, forwards and backwards; for the latter the graph is cut
at the encoders' outputs, and their backward runs after that of all else. *The rest*: heads, loss,
optimizer, averages, queues. A SimCLR that gave the same views to the same encoders would spend on
encoders what the objective does, and SimCLR's own rest besides. So

    added = (rest - SimCLR's rest) / (encoders + SimCLR's rest)

SimCLR's rest is that of two views on the objective's own kind of encoder, never scaled up to more
views or encoders, which is strict: heads of a teacher, the optimizer of a partner and a third
view's projection count as added. What more views and more encoders cost is told apart, as encoders
/ SimCLR's encoders.

Both are measured in turns in one process with two threads, some steps each, late in a run, when
queues are full, ramps are over and the last stage has come; the median over turns is taken of the
mean of a turn's steps. What happens once in a run (k-means of a stage) is not in it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manta.spec import Spec

THREADS, WARM, TURNS, STEPS = 2, 3, 4, 3
ROWS, SIZE = 10_000, 32
TOTAL, LATE = 100_000, 90_000
LIMIT = 0.15
RECIPES = Path(__file__).resolve().parents[1] / "jobs/recipes"
CALLS = ("embed", "tokens", "pool", "feature_map", "stage_maps")
WHY = {
    "amcl": "several heads, and a temperature for each pair",
    "barlow_twins": "a wide projector",
    "byol": "a predictor, and the teacher's projector and average",
    "dino": "prototypes of all views, the teacher's too",
    "feature_transform": "the teacher's projector and average, a queue",
    "hallucinator": "the teacher's projector and average, a network that makes positives",
    "mae": "the decoder, over all patches, beside an encoder that sees a quarter of them",
    "mixed_barlow": "a wide projector, twice",
    "mochi": "the hardest of a queue for each query, and 160 mixtures of them",
    "mokd": "four heads of prototypes and as many of the teachers, two of them transformers; two "
    "encoders' optimizer",
    "mugs": "three heads, a transformer over groups of neighbours, and the teacher's",
    "pal": "a wide projector",
    "pirl": "a head on nine patches, and memories drawn from a table",
    "simsiam": "a predictor and a wider projector",
    "skd": "a predictor, and the teacher's projector and average",
    "ssl_ey": "a wide projector",
    "swav": "prototypes of all views and their transport",
    "unicon_ha": "heads and a matrix of pairs at two stages, over eight views",
    "vicreg": "a projector 1,024 wide, its optimizer and its covariances",
    "w_mse": "a Cholesky factor and a triangular solve for each sub-batch",
}
"""The part of an objective's mechanism that takes time, shown where it is over the limit."""


@dataclass
class Encoders:
    """Clock of all encoders of an objective, with the graph cut at their outputs."""

    seconds: float = 0.0
    cuts: list[list[tuple[Any, Any]]] = field(default_factory=list)
    busy: bool = False

    def watch(self, objective: Any) -> None:
        """Time every call of every encoder of the objective."""
        from manta.encoders import Encoder

        for module in objective.modules():
            if isinstance(module, Encoder):
                for name in CALLS:
                    if hasattr(module, name):
                        setattr(module, name, self._timed(getattr(module, name)))

    def backward(self) -> None:
        """Run the encoders' part of the backward pass, which the cuts left out.

        The last call comes first, since it may have used the outputs of others.
        """
        import torch

        start = time.perf_counter()
        for cut in reversed(self.cuts):
            reached = [(out, leaf.grad) for out, leaf in cut if leaf.grad is not None]
            if reached:
                torch.autograd.backward([out for out, _ in reached], [grad for _, grad in reached])
        self.cuts.clear()
        self.seconds += time.perf_counter() - start

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            if self.busy:  # one encoder's method that calls another of its own
                return call(*args, **options)
            self.busy, start = True, time.perf_counter()
            try:
                output = call(*args, **options)
            finally:
                self.busy = False
                self.seconds += time.perf_counter() - start
            self.cuts.append([])
            return self._cut(output)

        return timed

    def _cut(self, output: Any) -> Any:
        """Return a call's tensor or tensors as leaves of another graph."""
        if isinstance(output, (list, tuple)):
            return type(output)(self._cut(one) for one in output)
        if not output.requires_grad:
            return output
        leaf = output.detach().requires_grad_()
        self.cuts[-1].append((output, leaf))
        return leaf


class Stepper:
    """An objective that takes steps on the same views and times them."""

    def __init__(self, experiment: Any, folder: Path) -> None:
        import torch

        from manta import encoders, objectives
        from manta.batch import DataFacts
        from manta.training.step import TrainStep

        torch.manual_seed(0)
        encoder = encoders.build(experiment.encoder, Spec.image(SIZE))
        facts = DataFacts(ROWS, SIZE, materials(experiment, encoder, folder))
        self.batch = experiment.train.batch_size
        objective = objectives.build(experiment.objective, encoder, facts)
        self.step = TrainStep(experiment, objective, device=torch.device("cpu"), total_steps=TOTAL)
        self.clock = Encoders()
        self.clock.watch(self.step.objective)
        fill(self.step.objective)
        images = torch.randint(0, 256, (self.batch, 3, SIZE, SIZE), dtype=torch.uint8)
        index, layout = torch.arange(self.batch), self.step.memory_format
        views = self.step.views({"image": images}, index, seed=0, step=0, global_batch=self.batch)
        self.views = [
            replace(view, data=view.data.contiguous(memory_format=layout)) for view in views
        ]
        self.number = LATE

    def turn(self, steps: int) -> tuple[float, float]:
        """Return the mean seconds of a step, in encoders and in all else."""
        times = [self._one() for _ in range(steps)]
        encoders, rest = zip(*times, strict=True)
        return statistics.mean(encoders), statistics.mean(rest)

    def _one(self) -> tuple[float, float]:
        import torch

        from manta.batch import Batch, Progress

        step, clock, progress = self.step, self.clock, Progress(self.number, TOTAL)
        index = (torch.arange(self.batch) + self.number * self.batch) % ROWS
        clock.seconds, start = 0.0, time.perf_counter()
        with step.autocast():
            step.model(Batch(self.views, index), progress)["loss"].backward()
        clock.backward()
        torch.nn.utils.clip_grad_norm_(step.objective.parameters(), float("inf"))
        step.optimizer.step()
        step.optimizer.zero_grad(set_to_none=True)
        step.objective.after_step(progress)
        seconds = time.perf_counter() - start
        self.number += 1
        return clock.seconds, seconds - clock.seconds


def fill(objective: Any) -> None:
    """Fill the queues as a run would have filled them."""
    import torch
    import torch.nn.functional as F

    from manta.objectives import Queue

    for queue in (module for module in objective.modules() if isinstance(module, Queue)):
        queue.push(F.normalize(torch.randn(queue.rows.shape), dim=1))


def materials(experiment: Any, encoder: Any, folder: Path) -> dict[str, Path]:
    """Return the objective's materials with random contents, which do not change a step's time."""
    import numpy as np

    from manta.models.restore import export
    from manta.objectives import ClusterMaterial, ModelMaterial
    from manta.runs.materials import required
    from manta.serving import save_encoder

    paths = {}
    for name, material in required(experiment).items():
        if isinstance(material, ModelMaterial):
            exported, config = export(experiment, encoder), experiment.encoder
            paths[name] = save_encoder(exported, folder / name, config=config).folder
        else:
            highest = material.clusters if isinstance(material, ClusterMaterial) else 10
            values = np.random.default_rng(0).integers(0, highest, ROWS)
            np.save(folder / name, values, allow_pickle=False)
            paths[name] = folder / f"{name}.npy"
    encoder.train()
    return paths


@dataclass(frozen=True)
class Cost:
    """Seconds of a step of an objective and of SimCLR's on the same kind of encoder.

    Both are measured in the same minutes.
    """

    name: str
    encoders: float
    rest: float
    simclr_encoders: float
    simclr_rest: float

    @property
    def added(self) -> float:
        """Return the added part of a step, as the module describes it."""
        return (self.rest - self.simclr_rest) / (self.encoders + self.simclr_rest)


def measure(name: str, batch: int) -> Cost:
    """Measure objective and SimCLR in turns; return medians."""
    with tempfile.TemporaryDirectory() as scratch:
        own = Stepper(experiment_of(name, batch), Path(scratch))
        simclr = Stepper(
            experiment_of("simclr", batch, encoder=own.step.experiment.encoder), Path(scratch)
        )
        turns: list[tuple[float, float, float, float]] = []
        for stepper in (own, simclr):
            stepper.turn(WARM)
        for _ in range(TURNS):
            turns.append((*own.turn(STEPS), *simclr.turn(STEPS)))
    return Cost(name, *(statistics.median(column) for column in zip(*turns, strict=True)))


def experiment_of(name: str, batch: int, *, encoder: Any = None) -> Any:
    """Load the recipe, at a batch size, and on another encoder if one is given."""
    from manta.config import load

    words = ["data.source=unused", f"train.batch_size={batch}"]
    experiment = load(RECIPES / f"{name.replace('_', '-')}-cifar10.yaml", words)
    return experiment if encoder is None else experiment.model_copy(update={"encoder": encoder})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def step_table(names: list[str], *, batch: int) -> str:
    """Return the table in Markdown: what is above the limit first, then what adds most."""
    from manta.memory import keep_freed_memory

    keep_freed_memory()
    costs = []
    with _threads(THREADS):
        for name in names:
            costs.append(measure(name, batch))
            print(f"{name:<20} {row(costs[-1])}", flush=True)
    costs.sort(key=lambda cost: -cost.added)
    head = [
        "| objective | added | the rest, ms | SimCLR's rest, ms | encoders, ms | of SimCLR's | |",
        "|---" * 7 + "|",
    ]
    notes = [
        "",
        f"A step of batch {batch} at 32 px with {THREADS} threads, each on its recipe's encoder.",
        "*Added* is what head, loss, optimizer and averages (the rest) take more than SimCLR's, as",
        "a part of a SimCLR step with the same calls of encoders. The cost of those calls is the",
        "column before the last: more views, a teacher, or cheaper encoders. SimCLR's own line is",
        "SimCLR against itself: its distance from 0 is the noise of the measurement.",
    ]
    return "\n".join([*head, *(f"| `{cost.name}` {row(cost)}" for cost in costs), *notes])


def row(cost: Cost) -> str:
    """Return the table's row of a cost."""
    why = WHY.get(cost.name, "over the limit") if cost.added > LIMIT else ""
    share = cost.encoders / cost.simclr_encoders
    seconds = (cost.rest, cost.simclr_rest, cost.encoders)
    cells = " | ".join(f"{1000 * each:.0f}" for each in seconds)
    return f"| {cost.added:+.0%} | {cells} | {share:.1f} | {why} |"
