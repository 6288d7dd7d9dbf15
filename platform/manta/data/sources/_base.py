"""Base class of source adapters, and the choice of the adapter for a location."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import Any, ClassVar, TypeVar

from manta.data.sources._layout import ALL, TRAIN
from manta.errors import DataError
from manta.files import Place
from manta.modalities import Noun, noun_of
from manta.modalities.config import DataConfig
from manta.registry import Registry

T = TypeVar("T")
Label = int | float | str | None
"""Label of a sample as it was found."""
WorkUnit = Any
"""Work of one read task: a small picklable value that its own adapter understands."""

PARENT, REGEX = "parent", "regex:"
"""Rules of `SourceOptions.group` that go by a sample's path."""
FILES_PER_UNIT = 256
"""Files of a work unit, in the adapters of single files."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded image, or the reason why it could not be read.

    Attributes:
        path: name of the sample for people; relative to the source where possible.
        data: encoded bytes; None if they could not be read.
        label: its label as it was found, if it has one: see `Source.classes`.
        reason: why the bytes could not be read.
        group: what it belongs to (a speaker, a recording, a patient), as it was found.
    """

    path: str
    data: bytes | None
    label: Label = None
    reason: str | None = None
    group: Label = None


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a user says about a location where its own layout leaves it open.

    Attributes:
        split: part to read: "train", "val", "test", "unlabelled" or "all"; None: the training part
            where there are parts, else everything.
        column: column of a table, or kind of an archive's member, that holds the images.
        labels: column of the labels, "folders" (names of the first sub-folders) or "none"; None:
            what the layout suggests.
        group: what rows belong together by: a column, "parent" (the folder of a sample's path) or
            "regex:" and a pattern on that path, whose one group is the name; None: nothing.
        modality: what the samples are; None: what the location is surely of, else images.
        settings: names and values of the modality's own settings of sources, those that are set.
    """

    split: str | None = None
    column: str | None = None
    labels: str | None = None
    # Not in the text of the options, of which earlier versions made the state of remote folders.
    group: str | None = field(default=None, repr=False)
    modality: str | None = field(default=None, repr=False)
    settings: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @property
    def group_column(self) -> str | None:
        """The column of the groups, where it is one that names them."""
        by_path = self.group == PARENT or (self.group or "").startswith(REGEX)
        return None if by_path else self.group

    def to_json(self) -> dict[str, Any]:
        """Return plain data, by which an ingest is known; without groups that of earlier ones.

        What the samples are is part of an ingest by itself.
        """
        content = asdict(self)
        del content["modality"]
        if self.group is None:
            del content["group"]
        content["settings"] = [list(pair) for pair in self.settings]
        if not self.settings:
            del content["settings"]
        return content

    @classmethod
    def of(cls, data: DataConfig) -> SourceOptions:
        """Return what the section `data` of an experiment says."""
        names = [one.name for one in fields(cls) if one.name != "settings"]
        own = ((name, getattr(data, name)) for name in data.of_source)
        settings = tuple((name, value) for name, value in own if value is not None)
        return cls(**{name: getattr(data, name) for name in names}, settings=settings)


class Source(ABC):
    """Adapter that turns a location into a stream of work units, and a unit into samples.

    Both must be deterministic, so that an interrupted ingest can find its place again. An adapter
    is registered by `@SOURCES.register(name)`; it is pickled, so it may hold plain data only.
    """

    kind: ClassVar[str]
    has_columns: ClassVar[bool] = False
    """Whether a column can give `Sample.group`."""
    modality: ClassVar[str] = "image"
    """What its samples are, if it has one kind alone; sources of files leave this as it is."""
    options: SourceOptions = SourceOptions()

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    def called(self) -> Noun:
        """What its samples are called."""
        return noun_of(self.options.modality or self.modality)

    @classmethod
    @abstractmethod
    def claim(cls, place: Place) -> int:
        """Return whether this adapter can read the location.

        0: no. 1: yes, unless another adapter is sure. 2: certainly.
        """

    @abstractmethod
    def units(self) -> Iterator[WorkUnit]:
        """Yield the work units in a stable order, listing them lazily."""

    @abstractmethod
    def read(self, unit: WorkUnit) -> Iterator[Sample]:
        """Yield the samples of a unit in a stable order.

        A file that cannot be read becomes a Sample with a reason, not an exception.
        """

    def classes(self) -> list[str] | None:
        """Return the names of the labels if the source declares them.

        A label is then a position in the list, and a number outside of it is none. Otherwise
        labels are values of any kind, whose classes the ingest numbers: see `manta.data.labels`.
        """
        return None

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that the location divides into, with the names of each one's entries."""
        return {}

    def notes(self) -> list[str]:
        """Return short lines on what was understood of the location, and what was left out."""
        return []

    def identity(self) -> list[Any]:
        """Return values that change with the location's content and are cheap to find out."""
        return list(self.place.identity())

    def chosen_part(self) -> str | None:
        """Return the part to read; None where there are none, or all are read.

        Raises:
            DataError: there are parts, and none is the chosen one.
        """
        parts, chosen = self.parts(), self.options.split
        if chosen == ALL or (not parts and chosen is None):
            return None
        if chosen is None:
            chosen = next(iter(parts)) if len(parts) == 1 else TRAIN
        if chosen in parts:
            return chosen
        listed = ", ".join(parts) or "none"
        raise DataError(
            f"{self.place.url} has no part {chosen!r} (its parts: {listed}); choose one "
            "by data.split, or data.split=all"
        )


SOURCES: Registry[type[Source]] = Registry("sources", "manta.data.sources")

_UNPACK, _LIST = "unpack it into a folder, or pack it as .tar", "save it as .csv"
_WRITE = "write its images as files, or as Parquet with a column of encoded images"
_FIXES = {
    **dict.fromkeys((".zip", ".rar", ".7z", ".gz", ".bz2", ".xz", ".zst"), _UNPACK),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _LIST),
    **dict.fromkeys((".h5", ".hdf5", ".npz", ".npy", ".mat", ".tfrecord", ".pkl", ".pt"), _WRITE),
}
"""What to do with files that people have and no adapter reads."""


def open_source(location: str | os.PathLike[str], options: SourceOptions | None = None) -> Source:
    """Return the adapter for a location.

    Args:
        options: how the user wants it read.

    Raises:
        DataError: the location does not exist, or no adapter can read it.
    """
    chosen = options.modality if options is not None else None
    source = _adapter(os.fspath(location), chosen)
    # Set, not passed: an adapter of a user's own may have a constructor of one argument.
    source.options = options or SourceOptions()
    if source.options.split == ALL and not source.parts():
        # All of what has no parts is the dataset that no option gives: it is ingested once.
        source.options = replace(source.options, split=None)
    return source


def is_builtin(text: str) -> bool:
    """Return whether a location is the name of data that an adapter brings, such as `digits`.

    A folder of that name is `./digits`.
    """
    return text in SOURCES and SOURCES[text].claim(Place(text)) == 2


def _adapter(text: str, modality: str | None = None) -> Source:
    if is_builtin(text):
        return SOURCES[text](Place(text))
    place = Place.of(text)
    if not place.is_glob and not place.exists():
        place = _parts_of_stem(place, text, modality)
    surest, name = _surest(place, modality)
    if surest == 0:
        fix = _FIXES.get(place.suffix)
        if fix is not None:
            raise DataError(f"{text} is not read as it is; {fix}")
        raise DataError(
            f"{text} is of no known kind ({', '.join(SOURCES)}); a file list ends in .txt, .csv or "
            ".tsv, a table in .parquet, an archive in .tar"
        )
    return SOURCES[name](place)


def _surest(place: Place, modality: str | None) -> tuple[int, str]:
    """Return the largest claim to a location and the source that makes it.

    Sources of the modality come first, then those of files of any kind. Where none was asked for,
    a source of something else counts only if it is certain and no other can read the location.
    """
    # Only those that count are asked: each looks into folders, which takes long on object stores.
    own = [claim for claim in _claims(place, {modality}) if claim[0] > 0]
    surest, name = max(own or _claims(place, {"image"}))
    if modality is None and surest == 0:
        others = {cls.modality for _, cls in SOURCES.items()} - {"image"}
        certain = [claim for claim in _claims(place, others) if claim[0] == 2]
        surest, name = max([(surest, name), *certain])
    return surest, name


def _claims(place: Place, modalities: Collection[str | None]) -> list[tuple[int, str]]:
    return [(cls.claim(place), name) for name, cls in SOURCES.items() if cls.modality in modalities]


def _parts_of_stem(place: Place, text: str, modality: str | None) -> Place:
    """Return the files of which a location is the stem, as archives of series name their parts.

    Such as `GunPoint_TRAIN.ts` and `GunPoint_TEST.ts`.

    Raises:
        DataError: there are none.
    """
    pattern = Place(f"{place.url}_[Tt][RrEe]*.ts")
    if not pattern.is_glob or not pattern.glob():
        kinds = "a folder of images, Parquet, tars, a file list, or 'digits'"
        if modality not in (None, "image"):
            plural = noun_of(modality).plural
            kinds = f"a file or a folder of {plural}, a table of them, or an ingested dataset"
        raise DataError(f"nothing at {text}; give {kinds}")
    return pattern


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` items, lazily."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def read_files(files: Iterable[tuple[Place, str, Label]]) -> Iterator[Sample]:
    """Yield samples of single image files, given as `(place, name, label)`."""
    for place, name, label in files:
        try:
            if place.is_local and not stat.S_ISREG(os.stat(place.url).st_mode):
                # Reading a pipe or a device could wait for ever.
                yield Sample(name, None, label, _not_a_file(place))
                continue
            yield Sample(name, place.read(), label)
        except (OSError, ValueError) as error:
            yield Sample(
                name, None, label, f"cannot be read: {getattr(error, 'strerror', None) or error}"
            )


def _not_a_file(place: Place) -> str:
    is_folder = os.path.isdir(place.url)
    return "a folder that cannot be entered" if is_folder else "a pipe, socket or device"
