"""Choice of a table's columns: which has the images, which the labels, which the split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from manta.data.sources._base import SourceOptions
from manta.data.sources._row_parts import FLAGS
from manta.data.sources._words import (
    FOLDERS,
    IMAGES,
    KEYS,
    LABELS,
    NO_LABELS,
    PATHS,
    SPLITS,
    TEXTS,
    normal,
    usual,
)
from manta.errors import DataError, did_you_mean
from manta.modalities import Noun, noun_of

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_DEPTH = 3
_SURE = SPLITS[:3]


Main = Callable[[dict[str, Any], Any, str | None, str], tuple[str, tuple[str, ...]]]


class NoImages(DataError):
    """A table without a column that could hold images."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table, each as a path such as `image` or `sample.image`.

    Attributes:
        is_path: whether the images lie in files: the column is text.
        label: None: the table has no labels, or they are not wanted.
        names: names of the classes that the table declares; a label is then a position in them.
        other_images, other_labels: further columns that might have been chosen.
        unused: what might be labels and cannot be used, with its type.
        unclear: a column that might tell the part of each row, in a way that is not known.
        is_numbered: whether the labels are whole numbers.
        group: of the groups; None: nobody asked for one, or the file's folders tell it.
    """

    image: str
    is_path: bool
    label: str | None
    split: str | None
    names: list[str] | None
    other_images: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()
    unused: str | None = None
    unclear: str | None = None
    is_numbered: bool = False
    group: str | None = None

    @property
    def read(self) -> list[str]:
        """Return the columns to read."""
        chosen = (self.image, self.label, self.split, self.group)
        return list(dict.fromkeys(filter(None, chosen)))


def choose(schema: Any, options: SourceOptions, where: str, main: Main | None = None) -> Columns:
    """Return the columns of a table to read.

    Args:
        schema: its Arrow schema.
        where: the table for people.
        main: chooses the column of samples, and others that might be it, from the columns with
            their types, the declared features, the column that was asked for, and `where`; None:
            that of images.

    Raises:
        NoImages: no column can hold images, or there is none of the name that was asked for.
        DataError: several might, or the column of labels cannot hold labels.
    """
    _refuse_doubled(schema, options, where)
    leaves = dict(_leaves(schema, ""))
    features = _features(schema)
    image, other_images = (main or partial(_image, noun_of(options.modality)))(
        leaves, features, options.column, where
    )
    group = options.group_column
    if group is not None and group not in leaves:
        raise DataError(f"{where} has no column {group!r}{did_you_mean(group, leaves)}")
    own = {image, group} - {options.labels}
    rest = {path: kind for path, kind in leaves.items() if path not in own}
    label, other_labels, unused = _label(rest, features, options.labels, where)
    split, unclear = _split({path: kind for path, kind in rest.items() if path != label})
    return Columns(
        image=image,
        is_path=is_text(leaves[image]),
        label=label,
        split=split,
        names=_class_names(features, label) if label else None,
        other_images=other_images,
        other_labels=other_labels,
        unused=unused,
        unclear=unclear,
        is_numbered=label is not None and bool(pa.types.is_integer(plain(rest[label]))),
        group=group,
    )


def plain(kind: Any) -> Any:
    """Return the type of the values of a dictionary, a run-end encoding or an extension."""
    while True:
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            return kind


def is_binary(kind: Any) -> bool:
    """Return whether values of a type are bytes."""
    return _is_any(kind, "binary", "large_binary", "fixed_size_binary", "binary_view")


def is_text(kind: Any) -> bool:
    """Return whether values of a type are text."""
    return _is_any(kind, "string", "large_string", "string_view")


def is_list(kind: Any) -> bool:
    """Return whether values of a type are lists, of a fixed size or not."""
    return _is_any(kind, "list", "large_list", "fixed_size_list", "list_view", "large_list_view")


def _is_any(kind: Any, *names: str) -> bool:
    values = plain(kind)
    return any(getattr(pa.types, f"is_{name}")(values) for name in names)


def holds_images(kind: Any) -> bool:
    """Return whether values of a type can only be images, or bytes of any kind."""
    kind = plain(kind)
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return ("bytes" in fields and may_be_image(fields["bytes"])) or (
            set(fields) == {"path"} and is_text(fields["path"])
        )
    if is_list(kind):
        inner = plain(kind.value_type)
        return bool(pa.types.is_uint8(inner) or pa.types.is_int8(inner) or holds_images(inner))
    return is_binary(kind)


def may_be_image(kind: Any) -> bool:
    """Return whether a type can hold an image in some way: encoded, as pixels, as a path."""
    kind = plain(kind)
    if is_list(kind):
        inner = plain(kind.value_type)
        return bool(pa.types.is_integer(inner) or may_be_image(inner))
    return bool(holds_images(kind) or is_text(kind) or pa.types.is_null(kind))


def _may_be_label(kind: Any) -> bool:
    kind = plain(kind)
    nested = pa.types.is_nested(kind) or is_binary(kind)
    return not nested or (is_binary(kind) and not pa.types.is_fixed_size_binary(kind))


def _leaves(fields: Iterable[Any], above: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the path and type of each column, and of the fields of structs that hold no image."""
    for field in fields:
        path, kind = f"{above}{field.name}", plain(field.type)
        yield path, field.type
        if pa.types.is_struct(kind) and not holds_images(kind) and depth < _DEPTH:
            yield from _leaves(kind, f"{path}.", depth + 1)


def _refuse_doubled(schema: Any, options: SourceOptions, where: str) -> None:
    """Check that no column that might be chosen has a name that another one has too.

    Raises:
        DataError: one has.
    """
    names = list(schema.names)
    wanted = {*IMAGES, *LABELS, options.column, options.labels}
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and (name in wanted or normal(name) in wanted):
            raise DataError(f"{where} has two columns named {name!r}; rename one of them")


def _image(
    noun: Noun, leaves: dict[str, Any], features: Any, asked: str | None, where: str
) -> tuple[str, tuple[str, ...]]:
    if asked is not None:
        if asked not in leaves:
            raise NoImages(f"{where} has no column {asked!r}{did_you_mean(asked, leaves)}")
        if not may_be_image(leaves[asked]):
            raise DataError(
                f"column {asked} of {where} holds {leaves[asked]}, not {noun.plural}; choose "
                "another one by data.column"
            )
        return asked, ()
    sure = [path for path, kind in leaves.items() if holds_images(kind)]
    declared = [path for path in sure if _kind(_feature(features, path)) == "Image"]
    sure = declared or [path for path in sure if normal(path) not in KEYS] or sure
    named = usual(sure, IMAGES)
    if named or len(sure) == 1:
        image = (named or sure)[0]
        return image, tuple(path for path in sure if path != image)
    if len(sure) > 1:
        count = _NUMBERS[len(sure)] if len(sure) < len(_NUMBERS) else str(len(sure))
        raise DataError(
            f"{where} has {count} {noun.singular} columns: {', '.join(sure)}; choose one, as in "
            f"data.column={sure[0]}"
        )
    unsure = {path: kind for path, kind in leaves.items() if may_be_image(kind)}
    nested = [path for path in usual(unsure, IMAGES) if not is_text(unsure[path])]
    texts = [path for path in unsure if is_text(unsure[path])]
    fitting = nested or usual(texts, IMAGES[:3]) or usual(texts, (*PATHS, *IMAGES[3:]))
    if fitting:
        return fitting[0], ()
    raise NoImages(
        f"{where} has no column of {noun.plural} (columns: {', '.join(leaves) or 'none'}); give "
        "its name by data.column"
    )


def text_column(
    leaves: dict[str, Any], features: Any, asked: str | None, where: str
) -> tuple[str, tuple[str, ...]]:
    """Return the column of texts of a table, and others that hold texts; see `choose`."""
    if asked is not None:
        if asked not in leaves:
            raise NoImages(f"{where} has no column {asked!r}{did_you_mean(asked, leaves)}")
        if not is_text(leaves[asked]) and not is_binary(leaves[asked]):
            raise DataError(
                f"column {asked} of {where} holds {leaves[asked]}, not text; choose another one by "
                "data.column"
            )
        return asked, ()
    texts = [path for path, kind in leaves.items() if is_text(kind)]
    others = [path for path in texts if not usual([path], (*LABELS, *SPLITS, *KEYS))]
    fitting = usual(texts, TEXTS) or others
    if not fitting:
        raise NoImages(
            f"{where} has no column of text (columns: {', '.join(leaves) or 'none'}); give its "
            "name by data.column"
        )
    return fitting[0], tuple(fitting[1:])


def _label(
    leaves: dict[str, Any], features: Any, asked: str | None, where: str
) -> tuple[str | None, tuple[str, ...], str | None]:
    """Return the column of labels, others that might be, and one that cannot be used."""
    if asked in (NO_LABELS, FOLDERS):
        return None, (), None
    if asked is not None:
        if asked not in leaves:
            raise DataError(f"{where} has no column {asked!r}{did_you_mean(asked, leaves)}")
        if not _may_be_label(leaves[asked]):
            raise DataError(
                f"column {asked} of {where} holds {leaves[asked]}, not one label a row; choose "
                "another one by data.labels, or data.labels=none"
            )
        return asked, (), None
    named = usual(leaves, LABELS)
    named += [path for path in leaves if _kind(_feature(features, path)) == "ClassLabel"]
    named = list(dict.fromkeys(named))
    # Bytes named "label" are masks more often than words.
    fitting = [p for p in named if _may_be_label(leaves[p]) and not is_binary(leaves[p])]
    if fitting:
        return fitting[0], tuple(fitting[1:]), None
    return None, (), f"{named[0]} ({leaves[named[0]]})" if named else None


def _split(leaves: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the column that tells the part of each row, and one that might."""
    named, flags = usual(leaves, SPLITS), usual(leaves, FLAGS)
    texts = [path for path in named if is_text(leaves[path])]
    sure = [path for path in flags if pa.types.is_boolean(plain(leaves[path]))]
    if texts or (len(flags) == 1 and sure):
        return (texts or sure)[0], None
    numbered = [p for p in named if pa.types.is_integer(plain(leaves[p])) and normal(p) in _SURE]
    return None, next(iter([*flags, *numbered]), None)


def _features(schema: Any) -> Any:
    """Return the features that the Hugging Face library has written into a schema, or {}."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"] or {}
    except (KeyError, TypeError, ValueError):
        return {}


def _feature(features: Any, path: str) -> Any:
    """Return the declared feature of a column, or None."""
    found = features.get(path) if isinstance(features, dict) else None
    if found is not None:
        return found
    found = features
    for part in path.split("."):
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict) and part not in found and "feature" in found:
            found = found["feature"]
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _kind(feature: Any) -> str | None:
    """Return the type of a declared feature, or of the items of a list of them."""
    while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    if isinstance(feature, list) and feature:
        feature = feature[0]
    return feature.get("_type") if isinstance(feature, dict) else None


def _class_names(features: Any, path: str) -> list[str] | None:
    feature = _feature(features, path)
    names = feature.get("names") if isinstance(feature, dict) else None
    return [str(name) for name in names] if isinstance(names, list) and names else None
