"""Export of a saved encoder to other formats, each of which is tested on real samples first.

timm          a folder for `timm.create_model("local-dir:OUT", pretrained=True)`; its config.json
              has the preprocessing
safetensors   a folder with model.safetensors and manta.json, which says what the weights are of
pt2           one file for `torch.export.load`: images `[N, H, W, 3]` uint8 in, features `[N, D]`
              out, for every N, H, W
onnx          one file for onnxruntime, with the same input and output

Beside a graph of token numbers lies the vocabulary that gives them.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from manta.disk import refused_write, writing_to
from manta.encoders import Encoder, EncoderConfig
from manta.encoders.saved import saved_config
from manta.errors import ConfigError, MantaError, RunError
from manta.serving.export import TIMM_DESCRIPTION, ExportedEncoder, load_exported, save_encoder

Format = Literal["timm", "safetensors", "pt2", "onnx"]
TOLERANCE: dict[Format, float] = {"timm": 1e-4, "safetensors": 1e-4, "pt2": 1e-4, "onnx": 5e-3}
"""Largest allowed difference of a feature, relative to the source's largest feature. ONNX has its
own kernels: a resized pixel that they round the other way differs by 1 of 255, which moves features
by some 1e-4."""
OPSET = 18
"""The first ONNX operator set with antialiased resizing."""
Run = Callable[[Tensor], Tensor]
"""Samples, as the signature describes them, -> `[N, D]`."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        path: the folder or file that was written.
        error: largest difference of a feature on real samples, measured as in `TOLERANCE`.
    """

    path: Path
    format: Format
    error: float
    tolerance: float


def export_model(folder: str | Path, format: Format, out: str | Path) -> Exported:
    """Export the saved encoder in `folder` to `out`; return the result of its test.

    The export is loaded as its users will load it, and compared with the source on real samples.
    `out` appears only if it passes, and then complete.

    Raises:
        ConfigError: there is no such format, it cannot express this encoder, or `out` exists.
        RunError: the folder holds no encoder, or the export gives other features.
    """
    if format not in get_args(Format):
        raise ConfigError(
            f"there is no format {format!r}; choose one of {', '.join(get_args(Format))}"
        )
    out = Path(out)
    if out.exists():
        raise ConfigError(f"{out} exists; choose another place for the export, or remove it")
    source = load_exported(folder)
    with writing_to(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the rename at the end stays on one file system.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".manta-export-") as scratch:
        written = Path(scratch) / out.name
        try:
            gap = _difference(source, _WRITERS[format](source, saved_config(folder), written))
            if written.is_file():
                _write_reader_files(source, written)
        except MantaError:
            raise
        except Exception as error:  # torch.export and its successors have many kinds
            if refused := refused_write(error, out.parent):
                raise refused from error
            reason = " ".join(str(error).split())[:300]
            raise RunError(
                f"the encoder cannot be exported as {format}: {reason}; choose another --format"
            ) from error
        if not gap < TOLERANCE[format]:
            raise RunError(
                f"as {format} the encoder gives other features (relative error {gap:.2g}, "
                f"{TOLERANCE[format]:g} is allowed) and was not exported; choose another --format"
            )
        # A large ONNX model has a second file with its weights. `out` itself is moved last, so that
        # it never exists without them.
        pieces = sorted(written.parent.iterdir(), key=lambda path: path == written)
        if taken := next(
            (out.parent / piece.name for piece in pieces if (out.parent / piece.name).exists()),
            None,
        ):
            raise ConfigError(f"{taken} exists; choose another place for the export, or remove it")
        for piece in pieces:
            piece.rename(out.parent / piece.name)
    return Exported(out, format, gap, TOLERANCE[format])


def head_weights(objective: nn.Module) -> dict[str, Tensor]:
    """Return the weights of an objective's heads, by their names in it.

    Heads are everything learned besides the encoders: projectors, predictors, prototypes, decoders
    and momentum copies of them, with the buffers of their layers. Queues and tables of samples do
    not belong to them.

    Raises:
        RunError: the objective has no heads.
    """
    encoders = tuple(
        f"{name}." for name, module in objective.named_modules() if isinstance(module, Encoder)
    )
    learned = [
        name
        for name, _ in objective.named_parameters(remove_duplicate=False)
        if not name.startswith(encoders)
    ]
    if not learned:
        raise RunError(
            f"{type(objective).__name__} has no heads beside its encoder; leave --heads out"
        )
    heads = {name.partition(".")[0] for name in learned}
    return {
        name: value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
        for name, value in objective.state_dict().items()
        if name.partition(".")[0] in heads
        and not name.startswith(encoders)
        and isinstance(value, Tensor)
    }


def _timm(source: ExportedEncoder, config: EncoderConfig, path: Path) -> Run:
    import timm

    if not save_encoder(source, path, config=config).timm:
        raise ConfigError(
            f"timm cannot build this {config.name} (encoder.stem={config.stem}); choose --format "
            "safetensors, pt2 or onnx"
        )
    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    return lambda images: model(source.preprocess(images))


def _safetensors(source: ExportedEncoder, config: EncoderConfig, path: Path) -> Run:
    save_encoder(source, path, config=config)
    (path / TIMM_DESCRIPTION).unlink(missing_ok=True)
    return load_exported(path)


def _pt2(source: ExportedEncoder, config: EncoderConfig, path: Path) -> Run:
    with torch.no_grad():
        program = torch.export.export(
            source, (source.preprocess.traced(),), dynamic_shapes=_any_size(source)
        )
    # In memory first: torch ends the process, and not the export, where a disk is full.
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getbuffer())
    with open(path, "rb") as file:
        return torch.export.load(file).module()


def _onnx(source: ExportedEncoder, config: EncoderConfig, path: Path) -> Run:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"--format onnx needs {', '.join(missing)}; install 'manta-ssl[onnx]'")
    import onnxruntime

    name = source.preprocess.signature.name
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program = torch.onnx.export(
            source,
            (source.preprocess.traced(),),
            dynamo=True,
            dynamic_shapes=_any_size(source),
            input_names=[name],
            output_names=["features"],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RunError("torch gave no ONNX program; choose another --format")
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(["features"], {name: inputs.numpy()})[0])


_WRITERS: dict[Format, Callable[[ExportedEncoder, EncoderConfig, Path], Run]] = {
    "timm": _timm,
    "safetensors": _safetensors,
    "pt2": _pt2,
    "onnx": _onnx,
}


def _write_reader_files(source: ExportedEncoder, written: Path) -> None:
    """Write beside a graph what reads a stranger's samples, such as a vocabulary."""
    reader = source.preprocess.reader()
    for name, content in (reader.files if reader else {}).items():
        written.with_name(f"{written.stem}.{name}").write_text(content)


def _any_size(source: ExportedEncoder) -> tuple[dict[int, object], ...]:
    shape = source.preprocess.signature.shape
    free = (axis for axis, side in enumerate(shape) if side == -1)
    return (dict.fromkeys(free, torch.export.Dim.AUTO),)


def _difference(source: ExportedEncoder, other: Run) -> float:
    worst = 0.0
    with torch.no_grad():
        for inputs in source.preprocess.examples():
            expected = source(inputs)
            gap = (other(inputs) - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
            worst = max(worst, float(gap)) if bool(gap.isfinite()) else float("inf")
    return worst
