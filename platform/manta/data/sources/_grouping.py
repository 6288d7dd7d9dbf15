"""Samples of an archive: its images, each with the label that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from manta.data.sources._archive import BROKEN, Member, members
from manta.data.sources._base import Label, Sample, SourceOptions
from manta.data.sources._names import shown
from manta.data.sources._values import label_of, word_label
from manta.data.sources._words import FOLDERS, LABELS, NO_LABELS, usual
from manta.errors import DataError
from manta.files import Place

_MOST_LABEL_BYTES = 1 << 20
_MOST_IMAGES = 16
"""Images of a key that are held in memory while its label is awaited."""
_CLASS = "cls"


@dataclass
class Group:
    """Members in a row that share a key.

    Attributes:
        images: `(kind, sample without label)` of each image.
        labels: by what stands before the last dot of their kind: `left` for `left.cls`.
    """

    key: str
    names: set[str] = field(default_factory=set)
    images: list[tuple[str, Sample]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    weak_labels: dict[str, Label] = field(default_factory=dict)


def groups(place: Place, name: str, options: SourceOptions, part: str | None) -> Iterator[Group]:
    """Yield the groups of an archive.

    Args:
        name: the archive for people.
        part: part whose members are read; None: all.

    Raises:
        see `members`; the groups until then have been yielded.
    """
    group: Group | None = None
    try:
        for member in members(place):
            if part is not None and (member.part or "train") != part:
                continue
            is_full = group is not None and len(group.images) >= _MOST_IMAGES
            if group is None or member.key != group.key or member.name in group.names or is_full:
                if group is not None:
                    yield group
                group = Group(member.key)
            group.names.add(member.name)
            _add(group, member, name, options)
    except BROKEN:
        if group is not None:
            yield group
        raise
    if group is not None:
        yield group


def _add(group: Group, member: Member, archive: str, options: SourceOptions) -> None:
    prefix, _, last = member.kind.rpartition(".")
    path = f"{archive}/{member.name}"
    if member.is_image:
        if member.link is not None:
            reason = f"a link within the archive: to {shown(member.link)}; not followed"
            group.images.append((member.kind, Sample(path, None, reason=reason)))
        else:
            group.images.append((member.kind, Sample(path, member.read())))
    elif member.link is None and member.size <= _MOST_LABEL_BYTES:
        asked = None if options.labels in (NO_LABELS, FOLDERS) else options.labels
        if options.labels not in (NO_LABELS, FOLDERS) and last == (asked or _CLASS):
            group.labels[prefix] = _from_text(member.read(), LABELS)
        elif options.labels not in (NO_LABELS, FOLDERS) and last == "json":
            names = LABELS if asked is None else (asked,)
            group.weak_labels[prefix] = _from_json(member.read(), names)


def _from_text(data: bytes, names: tuple[str, ...]) -> Label:
    text = data.decode(errors="replace").strip().strip("\x00")
    return _from_json(data, names) if text[:1] in ("{", "[") else word_label(text)


def _from_json(data: bytes, names: tuple[str, ...]) -> Label:
    try:
        content: Any = json.loads(data)
    except ValueError:
        return None
    if isinstance(content, dict):
        keys = [name for name in names if name in content] if len(names) == 1 else []
        keys = keys or usual(content, names)
        content = content[keys[0]] if keys else None
    if isinstance(content, list):
        content = content[0] if len(content) == 1 else None
    return None if isinstance(content, (dict, list)) else label_of(content)


def samples(group: Group, options: SourceOptions, apart: dict[str, Label]) -> Iterator[Sample]:
    """Yield the samples of a group.

    `0001.jpg` is the image even if `0001.mask.png` lies beside it. Where there are only `left.jpg`
    and `right.jpg`, each of them is a sample. `data.column` chooses another kind.

    Args:
        apart: labels that lie elsewhere in the archive, by key.
    """
    chosen = chosen_kinds([kind for kind, _ in group.images], options.column)
    if group.images and not chosen:
        path = group.images[0][1].path
        yield Sample(path, None, None, f"no .{options.column} beside it")
    for position in chosen:
        kind, sample = group.images[position]
        prefix = kind.rpartition(".")[0]
        label = _first(
            group.labels.get(prefix),
            group.labels.get(""),
            group.weak_labels.get(prefix),
            group.weak_labels.get(""),
            apart.get(group.key),
        )
        if options.labels == FOLDERS:
            folders = group.key.split("/")[:-1]
            label = folders[-1] if folders and folders[-1] not in ("", ".", "..") else None
        yield Sample(sample.path, sample.data, label, sample.reason)


def chosen_kinds(kinds: list[str], asked: str | None) -> list[int]:
    """Return which of a key's images are samples, by their kinds."""
    if asked is not None:
        wanted = asked.lower().lstrip(".")
        fitting = [n for n, kind in enumerate(kinds) if wanted in (kind, kind.rpartition(".")[0])]
        return fitting[:1]
    bare = [position for position, kind in enumerate(kinds) if "." not in kind]
    return bare[:1] or list(range(len(kinds)))


def _first(*labels: Label) -> Label:
    return next((label for label in labels if label is not None), None)


def labels_apart(place: Place, options: SourceOptions) -> dict[str, Label]:
    """Return the labels of an archive whose members are not sorted by key, by key.

    Empty as soon as an image and its label lie side by side.
    """
    apart: dict[str, Label] = {}
    group = Group("")
    try:
        for member in members(place, quickly=True):
            if member.key != group.key:
                group = Group(member.key)
            if not member.is_image:
                _add(group, member, "", options)
            else:
                group.names.add(member.name)
            label = _first(*group.labels.values(), *group.weak_labels.values())
            if label is not None and group.names:
                return {}
            if label is not None:
                apart[member.key] = label
    except BROKEN:
        return apart
    return apart


def refuse_unknown_kind(kinds: set[str], asked: str | None, where: str) -> None:
    """Check that some key has an image of the kind that was asked for.

    Raises:
        DataError: none has.
    """
    if asked is not None and kinds and not chosen_kinds(sorted(kinds), asked):
        raise DataError(
            f"{where} has no images .{asked.lower()}; choose one of {', '.join(sorted(kinds))} by "
            "data.column"
        )
