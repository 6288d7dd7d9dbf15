"""What becomes of a model: `manta register`, `promote`, `export`, `embed` and `explore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from manta.commands.app import Runs, Summary, app, observing, write_result
from manta.printing import console, out, say

Model = Annotated[
    str,
    typer.Argument(
        help="A registered model (models:/NAME@candidate), a run's name or folder, a saved encoder's folder, or a timm "
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
    """Register a finished run's encoder under a name, as its newest version with the alias
    `candidate`.

    Its card (data, objective, budget, metrics with their probes, limits) is the version's
    description.

    Example: `manta register photos --name photos-encoder`
    """
    from manta.models.register import register_run

    registered = register_run(run, name, runs=runs, notify=say)
    out.print(
        f"version {registered.version} of {registered.name}: {registered.uri}",
        highlight=False,
        soft_wrap=True,
    )
    write_result(summary, asdict(registered))


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="Of the registered model.")],
    data: Annotated[str, typer.Option("--data", help="Labelled data that both are judged on.")],
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
    """Give an alias to a better model, on evidence: both are judged on the same rows in one go.

    The alias moves only if the 95% interval of the gain (a paired bootstrap over queries) lies
    above --min-gain; the evidence is written to the version. A refusal says why, and ends with
    status 3.

    Example: `manta promote photos-encoder --metric knn_top1 --min-gain 0.5 --data ./labelled`
    """
    from manta.evaluation.promote import promote_model

    with observing() as observer:
        evidence = promote_model(
            name,
            data,
            metric=metric,
            alias=alias,
            challenger=challenger,
            min_gain=min_gain,
            bank=bank,
            runs=runs,
            observer=observer,
        )
    out.print(evidence.sentence, highlight=False, soft_wrap=True)
    write_result(summary, asdict(evidence))


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
    """Export an encoder, and prove it: what was written is loaded again and compared with the
    source on images.

    Example: `manta export models:/photos-encoder@champion encoder.onnx --format onnx`
    """
    from manta.models.export import export_to

    found = export_to(model, format, target, heads=heads, runs=runs, notify=say)
    out.print(
        f"{found['path']}: differs from the source by {found['error']:.1g} at most (allowed {found['tolerance']:.1g})",
        highlight=False,
        soft_wrap=True,
    )
    write_result(summary, found)


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
            help="A layer's output, averaged over positions, such as layer3; by default the embedding."
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
    """Embed images: a table of index, path and embedding, by a Ray Data job over any number of
    processes.

    Killed in the middle, the same command goes on: every row is written once. Images that cannot be
    read are listed in `_unreadable.parquet`, and `_manifest.json` names the model.

    Example: `manta embed models:/manta-simclr-resnet10t@candidate --data ./photos --out
    photos.parquet`

    Afterwards: `pandas.read_parquet("photos.parquet")`, or `manta explore photos.parquet` to look
    at it.
    """
    from manta.models.embed import embed_data
    from manta.progress import embed_bar, ingest_bar

    with ingest_bar(console) as ingesting, embed_bar(console) as progress:
        report = embed_data(
            model,
            data,
            target,
            runs=runs,
            layer=layer,
            precision=precision,
            batch=batch,
            actors=actors,
            most_actors=most_actors,
            gpus=gpus,
            notify=say,
            ingest_progress=ingesting,
            progress=progress,
        )
    aside = f"; {report.unreadable:,} set aside in _unreadable.parquet" if report.unreadable else ""
    out.print(
        f"{report.rows:,} rows of {report.width} numbers at {report.out}{aside}",
        highlight=False,
        soft_wrap=True,
    )
    out.print(f"next        manta explore {target}", highlight=False, soft_wrap=True)
    write_result(summary, asdict(report))


@app.command()
def explore(
    embeddings: Annotated[str, typer.Argument(help="What `manta embed --out` wrote.")],
    page: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="The page to write; by default beside the embeddings, or here if those are on a store."
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=16, max=10_000, help="Images on the page, drawn from all rows.")
    ] = 2_000,
) -> None:
    """Look at embeddings: a map with the images behind it, nearest neighbours and clusters, in one
    offline page.

    Example: `manta explore photos.parquet`
    """
    from manta.report.explore import write_explorer

    name = embeddings.rstrip("/").removesuffix(".parquet")
    target = page or Path(f"{name.rsplit('/', 1)[-1] if '://' in name else name}.html")
    out.print(
        f"page        {write_explorer(embeddings, target, images=images)}",
        highlight=False,
        soft_wrap=True,
    )
