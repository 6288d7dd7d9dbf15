"""Samples of an archive: its images, each with the label that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from manta.data.names import first_names, shown
from manta.data.sources._archive import BROKEN, Member, may_hold, members, own_key
from manta.data.sources._base import Label, Sample, SourceOptions
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
        last: own key of the member that was added last.
        continues: whether it goes on after a group of the same key that had no bare image.
        images: `(kind, sample without label)` of each image.
        labels: by what stands before the last dot of their kind: `left` for `left.cls`.
    """

    key: str
    last: str = ""
    continues: bool = False
    names: set[str] = field(default_factory=set)
    images: list[tuple[str, Sample]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    weak_labels: dict[str, Label] = field(default_factory=dict)

    def follows(self, member: Member) -> Group | None:
        """Return the group that a member begins; None if it belongs to this one.

        Where thousands of images share a key (`img.0001.png`, `img.0002.png`, ...) a group ends
        between two of them.
        """
        if member.key != self.key or member.name in self.names:
            return Group(member.key)
        images = len(self.images)
        is_full = images >= _MOST_IMAGES and member.own_key != self.last
        if is_full or images >= 4 * _MOST_IMAGES:
            ours = {"": self.labels[""]} if "" in self.labels else {}
            weak = {"": self.weak_labels[""]} if "" in self.weak_labels else {}
            return Group(member.key, continues=True, labels=ours, weak_labels=weak)
        return None

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.images]

    @property
    def own_keys(self) -> list[str]:
        return [own_key(self.key, kind.rpartition(".")[0]) for kind in self.kinds]

    @property
    def has_image(self) -> bool:
        """Return whether the image that stands for the whole key has been found."""
        return not self.continues and any("." not in kind for kind in self.kinds)

    def lonely(self, apart: dict[str, Label]) -> list[str]:
        """Return the keys of labels that no image has."""
        prefixes = {kind.rpartition(".")[0] for kind in self.kinds}
        found = {own_key(self.key, prefix): prefix for prefix in self.labels}
        return [
            own
            for own, prefix in found.items()
            if own not in apart
            and not {"", prefix} & prefixes
            and not (own == self.key and (prefixes or self.continues))
        ]


def groups(place: Place, name: str, options: SourceOptions, part: str | None) -> Iterator[Group]:
    """Yield the groups of an archive.

    Args:
        name: the archive for people.
        part: part whose members are read; None: all.

    Raises:
        see `members`; the groups until then have been yielded.
    """
    group = Group("")
    try:
        for member in members(place):
            if part is not None and (member.part or "train") != part:
                continue
            following = group.follows(member)
            if following is not None:
                yield group
                group = following
            _add(group, member, name, options)
    except BROKEN:
        yield group
        raise
    yield group


def _add(
    group: Group, member: Member, archive: str, options: SourceOptions, *, with_data: bool = True
) -> None:
    prefix, _, last = member.kind.rpartition(".")
    group.names.add(member.name)
    group.last = member.own_key
    path = f"{archive}/{member.name}"
    if member.is_image:
        if "." in member.kind and group.has_image and options.column is None:
            return  # a mask, say, of which there may be many
        if member.link is not None:
            reason = f"a link within the archive: to {shown(member.link)}; not followed"
            group.images.append((member.kind, Sample(path, None, reason=reason)))
        else:
            data = member.read() if with_data else None
            group.images.append((member.kind, Sample(path, data)))
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
    except (ValueError, RecursionError):
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
    and `right.jpg`, each of them is a sample, with the label `left.cls` if there is one, else
    that of the key. `data.column` chooses another kind.

    Args:
        apart: labels that lie elsewhere in the archive, by key.
    """
    chosen = chosen_kinds(group.kinds, options.column)
    if group.continues and options.column is None:
        chosen = list(range(len(group.images)))
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
            apart.get(own_key(group.key, prefix)),
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
        endings = [n for n, kind in enumerate(kinds) if kind.rpartition(".")[2] == wanted]
        return fitting[:1] or endings
    bare = [position for position, kind in enumerate(kinds) if "." not in kind]
    return bare[:1] or list(range(len(kinds)))


def _first(*labels: Label) -> Label:
    return next((label for label in labels if label is not None), None)


def labels_apart(place: Place, options: SourceOptions) -> dict[str, Label]:
    """Return the labels of an archive whose members are not sorted by key, by own key of members.

    Empty where images and their labels lie side by side.
    """
    asked = options.labels or _CLASS
    if asked in (NO_LABELS, FOLDERS) or not may_hold(place, (asked, "json")):
        return {}
    apart: dict[str, Label] = {}
    images: set[str] = set()
    group = Group("")
    with suppress(*BROKEN):
        for member in members(place, quickly=True):
            group = group.follows(member) or group
            _add(group, member, "", options, with_data=False)
            prefix = member.kind.rpartition(".")[0]
            near = {prefix, ""} if member.is_image else {prefix}
            if member.is_image:
                images |= {member.key, member.own_key}
            for one in near:
                label = _first(group.labels.get(one), group.weak_labels.get(one))
                own = own_key(member.key, one)
                if label is None:
                    continue
                if own not in (group.key, *group.own_keys) or not group.images:
                    apart[own] = label
                    continue
                apart.pop(own, None)
                if not any(key in images for key in apart):
                    return {}
    return {key: label for key, label in apart.items() if key in images}


def refuse_unknown_kind(kinds: set[str], asked: str | None, where: str) -> None:
    """Check that some key has an image of the kind that was asked for.

    Raises:
        DataError: none has.
    """
    if asked is not None and kinds and not chosen_kinds(sorted(kinds), asked):
        raise DataError(
            f"{where} has no images .{asked.lower()}; choose one of "
            f"{first_names(sorted(kinds), most=8)} by data.column"
        )
