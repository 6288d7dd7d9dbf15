"""Commands on models: `manta register`, `promote`, `export`, `embed` and `explore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from manta.commands.app import Runs, Summary, app, write_result
from manta.printing import line
from manta.words import in_shell

Model = Annotated[
    str,
    typer.Argument(
        help="A registered model (models:/NAME@candidate), a run's name or folder, a saved "
        "encoder's folder, or a timm "
        "model with its pretrained weights (timm:resnet18)."
    ),
]


@app.command()
def register(
    run: Annotated[str, typer.Argument(help="A finished run's name or folder.")],
    name: Annotated[
        str, typer.Option("--name", help="Of the registered model; made if there is none.")
    ],
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Register a finished run's encoder under a name, with the alias `candidate`.

    It becomes the newest version of that name. Its card (data, objective, budget, metrics with
    their probes, limits) is the version's description.

    Example: `manta register photos --name photos-encoder`
    """
    import manta

    registered = manta.register(run, name, runs=runs)
    line(f"version {registered.version} of {registered.name}: {registered.uri}")
    write_result(summary, asdict(registered))


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="Of the registered model.")],
    data: Annotated[str, typer.Option("--data", help="Labelled data that both are evaluated on.")],
    alias: Annotated[str, typer.Option(help="What the better one is called.")] = "champion",
    challenger: Annotated[str, typer.Option(help="A version's number, or an alias.")] = "candidate",
    metric: Annotated[
        str, typer.Option(help="One that counts queries: knn_top1, linear_top1 ...")
    ] = "knn_top1",
    min_gain: Annotated[
        float,
        typer.Option(
            help="Points that the gain must surely exceed: 0.5 is half a hundredth of the queries."
        ),
    ] = 0.0,
    bank: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Labelled data that the probe learns from; by default 9 in 10 rows of --data."
        ),
    ] = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Give an alias to a better model, after comparing both models on the same rows.

    The alias moves only if the 95% interval of the gain (a paired bootstrap over queries) lies
    above --min-gain; the evidence is written to the version. A refusal says why, and ends with
    status 3.

    Example: `manta promote photos-encoder --metric knn_top1 --min-gain 0.5 --data ./labelled`
    """
    import manta

    promotion = manta.promote(
        name,
        data,
        metric=metric,
        alias=alias,
        challenger=challenger,
        min_gain=min_gain,
        bank=bank,
        runs=runs,
    )
    line(promotion.sentence)
    write_result(summary, promotion.summary)


@app.command()
def export(
    model: Model,
    target: Annotated[
        Path,
        typer.Argument(help="What to write: a folder (timm, safetensors) or a file (pt2, onnx)."),
    ],
    format: Annotated[
        Literal["timm", "safetensors", "pt2", "onnx"],
        typer.Option(
            "--format",
            help="timm and safetensors: weights. pt2 and onnx: a graph, preprocessing inside.",
        ),
    ] = "timm",
    heads: Annotated[
        bool, typer.Option("--heads", help="The objective's heads too; needs a run.")
    ] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Export an encoder in another format, and test the export.

    The export is loaded again, and compared with the source on images.

    Example: `manta export models:/photos-encoder@champion encoder.onnx --format onnx`
    """
    import manta

    written = manta.export(model, target, format=format, heads=heads, runs=runs)
    differs = f"differs from the source by {written.error:.1g} at most"
    line(f"{written.path}: {differs} (allowed {written.tolerance:.1g})")
    facts = asdict(written)
    write_result(summary, {k: v for k, v in facts.items() if heads or not k.startswith("heads")})


@app.command()
def embed(
    model: Model,
    data: Annotated[
        str, typer.Option("--data", help="What to embed: whatever `manta ingest` takes.")
    ],
    target: Annotated[
        str,
        typer.Option(
            "--out", help="Folder or URL to write, such as photos.parquet; readable as one table."
        ),
    ],
    layer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="A layer's output, averaged over positions, such as layer3; by default the "
            "embedding."
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Images that go through the encoder at a time.")
    ] = 256,
    precision: Annotated[
        Literal["float32", "bf16"], typer.Option(help="Of the encoder.")
    ] = "float32",
    actors: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, help="Processes at least; by default one a GPU, or one a machine without."
        ),
    ] = None,
    most_actors: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-actors", min=1, help="Processes at most, on a cluster that grows."),
    ] = None,
    gpus: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0, help="Of a process, may be a fraction; by default 1 where there are GPUs."
        ),
    ] = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Embed images into a table of index, path and embedding.

    A Ray Data job embeds them with any number of processes. If it is killed, the same command
    continues it, and every row is written once. Images that cannot be read are listed in
    `_unreadable.parquet`, and `_manifest.json` names the model.

    Example: `manta embed models:/manta-simclr-resnet10t@candidate --data ./photos --out
    photos.parquet`

    Afterwards: `pandas.read_parquet("photos.parquet")`, or `manta explore photos.parquet` to look
    at it.
    """
    import manta

    result = manta.embed(
        model,
        data,
        target,
        layer=layer,
        precision=precision,
        batch=batch,
        actors=actors,
        max_actors=most_actors,
        gpus=gpus,
        runs=runs,
    )
    aside = f"; {result.unreadable:,} set aside in _unreadable.parquet" if result.unreadable else ""
    line(f"{result.rows:,} rows of {result.width} numbers at {result.folder}{aside}")
    line(f"next        manta explore {in_shell(target)}")
    facts = asdict(result)
    write_result(summary, {"out": facts.pop("folder"), **facts})


@app.command()
def explore(
    embeddings: Annotated[str, typer.Argument(help="What `manta embed --out` wrote.")],
    page: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="The page to write; by default beside the embeddings, or here if those are on a "
            "store."
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=16, max=10_000, help="Images on the page, drawn from all rows.")
    ] = 2_000,
) -> None:
    """Draw a page of embeddings: a map with images, nearest neighbours and clusters.

    The page is a single file and needs no network.

    Example: `manta explore photos.parquet`
    """
    import manta

    written = manta.explore(embeddings, page=page, images=images)
    line(f"page        {written}")
