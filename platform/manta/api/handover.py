"""`manta.load_encoder`, `manta.export`, `manta.register` and `manta.promote`."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from manta.api.arguments import PathLike, data_word, model_word
from manta.api.display import as_html, as_text
from manta.api.promotion_result import Promotion
from manta.api.reporting import reporting

if TYPE_CHECKING:
    from manta.serving import ExportedEncoder
    from manta.tracking import RegisteredModel


@dataclass(frozen=True, slots=True, repr=False)
class Export:
    """An encoder in a format that others load; path-like, as what was written.

    Attributes:
        model: what was exported, as it was named.
        path: folder (timm, safetensors) or file (pt2, onnx).
        format: its name.
        error: largest difference of an embedding from the source's on the same images, relative to
            the largest number of those; it was measured by loading what was written.
        tolerance: what the error had to be below.
        heads_path: file of the objective's heads, or None.
        heads: names of their weights.
    """

    model: str
    path: str
    format: str
    error: float
    tolerance: float
    heads_path: str | None = None
    heads: list[str] = field(default_factory=list, hash=False)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return as_text(f"Export of {self.model}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"Export of {self.model}", self._rows())

    def _rows(self) -> list[tuple[str, Any]]:
        differs = f"{self.error:.1g} at most (allowed {self.tolerance:.1g})"
        return [
            ("format", self.format),
            ("differs by", differs),
            ("heads", self.heads_path),
            ("path", self.path),
        ]


def load_encoder(model: PathLike, *, runs: PathLike = "manta-runs") -> ExportedEncoder:
    """Return an encoder as a torch module, on the CPU and in evaluation mode.

    It takes uint8 images `[N, H, W, 3]` of any size and gives float32 embeddings `[N, D]`; the
    preprocessing is inside. `encoder.preprocess(images)` is that part alone: float32 `[N, 3, S, S]`
    of the square side S; `encoder.preprocess.describe()` says side, mean and standard deviation.
    `encoder.encoder(prepared)` takes such prepared tensors, and is what a fine-tuning trains.
    `encoder.embed_dim` is D.

    Args:
        model: as `manta.evaluate` takes it.
        runs: folder or URL that holds the runs.

    Raises:
        RunError: there is no such model, or its run has no checkpoint yet.
        TrackingError: the registry does not have it.
    """
    from manta.models.find import model_folder
    from manta.printing import say
    from manta.runs.store import default_store
    from manta.serving import load_exported
    from manta.tracking import Tracker

    place = os.fspath(runs)
    tracker = Tracker(runs_dir=default_store(place))
    with model_folder(model_word(model, runs, say), tracker, place) as folder:
        return load_exported(folder)


def export(
    model: PathLike,
    out: PathLike,
    *,
    format: Literal["timm", "safetensors", "pt2", "onnx"] = "timm",
    heads: bool = False,
    runs: PathLike = "manta-runs",
    progress: bool = True,
) -> Export:
    """Export an encoder, load what was written, compare it with the source, and return the proof.

    Args:
        model: as `manta.evaluate` takes it.
        out: folder (timm, safetensors) or file (pt2, onnx) to write.
        format: timm and safetensors are weights; pt2 and onnx a graph with preprocessing inside.
        heads: write the objective's heads too, of a run's newest checkpoint.
        runs: folder or URL that holds the runs.
        progress: whether notes are shown.

    Raises:
        ConfigError: the format cannot hold the encoder, its package is missing, or `out` exists.
        RunError: there is no such model, or what was written differs; nothing is left behind.
    """
    from manta.models.export import export_to

    with reporting(progress) as reporter:
        found = export_to(
            model_word(model, runs, reporter.notify),
            format,
            os.fspath(out),
            heads=heads,
            runs=os.fspath(runs),
            notify=reporter.notify,
        )
    return Export(**found)


def register(
    run: PathLike, name: str, *, runs: PathLike = "manta-runs", progress: bool = True
) -> RegisteredModel:
    """Register a finished run's encoder as the newest version of a model, and return the version.

    It gets the alias `candidate`, and its card (data, objective, budget, metrics with their probes,
    limits) as its description.

    Args:
        run: a `Run`, or a run's name or folder.
        name: of the registered model; made if there is none.
        runs: folder or URL that holds the runs.
        progress: whether notes are shown.

    Returns:
        `name`, `version` and `uri`; the last is what `manta.load_encoder` takes.

    Raises:
        RunError: there is no such run, or it has not finished.
        TrackingError: the registry refused.
    """
    from manta.models.register import register_run

    with reporting(progress) as reporter:
        word = model_word(run, runs, reporter.notify)
        return register_run(word, name, runs=os.fspath(runs), notify=reporter.notify)


def promote(
    name: str,
    data: PathLike,
    *,
    metric: str = "knn_top1",
    alias: str = "champion",
    challenger: str = "candidate",
    min_gain: float = 0.0,
    bank: PathLike | None = None,
    runs: PathLike = "manta-runs",
    progress: bool = True,
) -> Promotion:
    """Give an alias to a better model on evidence, and return the evidence.

    Challenger and champion are evaluated on the same rows. The alias moves only if the 95% interval
    of the gain (a paired bootstrap over queries) lies above `min_gain`; the evidence is written to
    the version.

    Args:
        name: of the registered model.
        data: labelled data that both are evaluated on.
        metric: one that counts queries, such as `knn_top1` or `linear_top1`.
        alias: that the better one gets.
        challenger: a version's number, or an alias.
        min_gain: points that the gain must surely exceed: 0.5 is half a hundredth of the queries.
        bank: labelled data that the probe learns from; None: 9 in 10 rows of `data`.
        runs: folder or URL that holds the runs.
        progress: whether notes and bars are shown.

    Raises:
        PromotionRefused: the evidence is not enough; the message has the numbers.
        ConfigError: the metric does not count queries.
        DataError: the data have no labels, or cannot be read.
        TrackingError: there is no such model or version.
    """
    from manta.evaluation.promote import promote_model

    with reporting(progress) as reporter:
        evidence = promote_model(
            name,
            data_word(data, reporter.notify),
            metric=metric,
            alias=alias,
            challenger=challenger,
            min_gain=min_gain,
            bank=None if bank is None else data_word(bank, reporter.notify),
            runs=os.fspath(runs),
            observer=reporter.observer,
        )
    return Promotion.of(evidence.sentence, asdict(evidence))
