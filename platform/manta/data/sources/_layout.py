"""Names in folders that mean something: parts of a dataset, annotations, other programs' litter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from unicodedata import normalize

from manta.files import Place

_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .jp2 "
    ".j2k .ico .tga .pcx .heic .heif .avif .jxl .dds .mpo .sgi .qoi"
)
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Endings of files that hold an image; `decode` says which of them can be read."""

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "val", "test", "unlabelled"
ALL = "all"
_PARTS = {
    TRAIN: (
        *("train", "training", "trn", "trainval", "train_val", "train+val", "trainings"),
        *("entrainement", "entraînement", "entrenamiento", "addestramento", "treino"),
        *("treinamento", "训练", "训练集"),
    ),
    VALIDATION: (
        *("val", "valid", "validation", "dev", "validierung", "validierungs", "validacion"),
        *("validación", "validacao", "validação", "验证", "验证集"),
    ),
    TEST: (
        *("test", "testing", "tst", "holdout", "hold-out", "eval", "evaluation"),
        *("prueba", "essai", "teste", "prova", "测试", "测试集"),
    ),
    UNLABELLED: ("unlabeled", "unlabelled", "extra", "pred"),
}
PARTS = tuple(_PARTS)
# As macOS writes accents too: a letter, and its accent after it.
_PART_OF_WORD = {
    normalize(form, word): part
    for part, words in _PARTS.items()
    for word in words
    for form in ("NFC", "NFD")
}
_WORD = "|".join(map(re.escape, sorted(_PART_OF_WORD, key=len, reverse=True)))
_QUALIFIER = r"[-_ ]?(?:set|daten|data|images?|imgs?|split|v?\d+|of|[ab]|hr|lr)"
_PART = re.compile(rf"(?:\d{{1,2}}[-_. ]+|partial-)?({_WORD})(?:{_QUALIFIER})*(?:\.[a-z0-9.]+)?$")
_INSIDE = re.compile(rf"(?<![a-z])({_WORD})(?![a-z])")
_LAST = re.compile(rf".+[-_ ]({_WORD})$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_LITTER = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir"))
_LITTER |= frozenset(("$recycle.bin", "system volume information", "lost+found", "__pycache__"))
_IMAGES = frozenset(
    (
        "image",
        "images",
        "img",
        "imgs",
        "jpegimages",
        "photos",
        "pictures",
        "rgb",
        "data",
        "leftimg8bit",
    )
)
_ANNOTATION_NAMES = (
    "mask masks label labels annotation annotations segmentation segmentations segmentationclass "
    "segmentationobject gt groundtruth ground_truth imagesets bboxes depth trimaps "
    "gtfine gtcoarse"
)
_ANNOTATIONS = frozenset(_ANNOTATION_NAMES.split())
_RUNS, _STORE = "manta-runs", "mlflow.db"
_OWN_PAIRS = (
    ("run.json", "experiment.yaml"),
    ("ingest.json", "progress"),
    ("manifest.json", "quarantine.parquet"),
)
"""Files that no folder of anything else has together: of a run, an unfinished ingest, a dataset."""


def split_of(name: str) -> str | None:
    """Return the part of a dataset that a folder or file of this name holds, or None.

    Returns:
        "train", "val", "test" or "unlabelled", for names such as `train`, `val2017`,
        `Testing`, `test_images`, `train-00000-of-00002.parquet`; not for `test_tube`.
    """
    found = _PART.match(name.lower())
    return _PART_OF_WORD[found[1]] if found else None


def divide(names: Iterable[str]) -> dict[str, list[str]]:
    """Return sibling folders by the part of a dataset that they stand for, training first.

    Names that are alike but for the word of the part stand for it too: `seg_train` beside
    `seg_test`, and not `train_station` beside `test_tube`. The result is empty unless there are two
    parts, or a single folder whose name is one.
    """
    listed = sorted(names)
    part_of = {name: part for name in listed if (part := split_of(name)) is not None}
    alike: dict[str, dict[str, str]] = {}
    for name in listed:
        words = _CAMEL.sub("_", name).lower()
        inside = _INSIDE.findall(words)
        if name not in part_of and len(inside) == 1:
            rest = _INSIDE.sub("*", words)
            alike.setdefault(rest, {})[name] = _PART_OF_WORD[inside[0]]
    for group in alike.values():
        if len(set(group.values())) > 1:
            part_of |= group
    if TRAIN in part_of.values():  # and Final_Test beside it
        for name in listed:
            last = _LAST.match(_CAMEL.sub("_", name).lower())
            part = None if last is None else _PART_OF_WORD[last[1]]
            if part is not None and part != TRAIN:
                part_of.setdefault(name, part)
    found = set(part_of.values())
    if len(found) < 2 and listed != list(part_of)[:1]:
        return {}
    return {
        part: [name for name in listed if part_of.get(name) == part]
        for part in _PARTS
        if part in found
    }


def is_litter(name: str) -> bool:
    """Return whether other programs leave files or folders of this name in any folder."""
    return name.lower() in _LITTER or name.startswith("._")


def is_image_name(name: str) -> bool:
    """Return whether a file's name says that it is an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_own(folder: Place) -> bool:
    """Return whether a folder holds Manta's own output: runs, a run, or a dataset."""
    if folder.name == _RUNS or folder.suffix == ".manta":
        return True
    if folder.is_local and (folder / _STORE).exists():
        return True
    return folder.is_local and any(
        (folder / one).exists() and (folder / other).exists() for one, other in _OWN_PAIRS
    )


def leads_up(folder: Place) -> bool:
    """Return whether a local folder is a link to one of the folders that it lies in."""
    if not folder.is_local:
        return False
    target, here = os.path.realpath(folder.url), os.path.realpath(folder.parent.url)
    return here == target or here.startswith(target.rstrip("/") + "/")


def holds_images(name: str) -> bool:
    """Return whether a folder's name says that it holds images, of no class."""
    return name.lower() in _IMAGES


def image_folder(names: Iterable[str]) -> str | None:
    """Return the one of sibling folders that holds images where all others annotate them."""
    images = [name for name in names if name.lower() in _IMAGES]
    others = [name for name in names if name not in images]
    if len(images) == 1 and others and all(name.lower() in _ANNOTATIONS for name in others):
        return images[0]
    return None


def looks_like_image(file: Place) -> bool:
    """Return whether a file is an image by its name, or, if that says nothing, by its start."""
    if file.suffix:
        return is_image_name(file.name)
    try:
        with file.open() as handle:
            start = handle.read(16)
    except OSError:
        return False
    is_webp = bytes(start[:4]) == b"RIFF" and bytes(start[8:12]) == b"WEBP"
    return is_webp or bytes(start).startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM"))
