"""Source of WebDataset archives: tar files in which members with the same stem form a sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from manta.data.sources._archive import BROKEN, ENDINGS, Damaged, Member, members
from manta.data.sources._base import SOURCES, Sample
from manta.data.sources._grouping import chosen_kinds, groups, labels_apart, refuse_unknown_kind
from manta.data.sources._grouping import samples as samples_of
from manta.data.sources._layout import TRAIN
from manta.data.sources._listing import Files, Listed, beside_images, claimed
from manta.data.sources._table import and_more
from manta.errors import DataError
from manta.files import Place

TarUnit = tuple[Listed, str | None]
"""Archive, and the part whose members are read; None: all."""
_PEEKED = 500


@SOURCES.register("webdataset")
class WebDataset(Files):
    """WebDataset tar file, compressed or not, a folder of them, or a pattern.

    `.cls` members hold labels, numbers or words; so does a key such as `label` of `.json` members.
    """

    kind = "webdataset"
    endings = ENDINGS

    @classmethod
    def claim(cls, place: Place) -> int:
        if not claimed(place, cls.endings):
            return 0
        mixed = beside_images(place, cls.endings)
        if mixed is None:
            return 2
        raise DataError(
            f"{place.url} holds an archive ({mixed[0]}) and image files ({mixed[1]}); move one "
            f"kind into a folder of its own, or read the archives by '{place.url}/*.tar'"
        )

    def units(self) -> Iterator[TarUnit]:
        refuse_unknown_kind(self._kinds, self.options.column, self.place.url)
        part = self.chosen_part() if self._member_parts else None
        files = self.listed if self._member_parts else self.chosen_files()
        yield from ((file, part) for file in files)

    def read(self, unit: TarUnit) -> Iterator[Sample]:
        file, part = unit
        empty, broken = True, None
        try:
            apart = labels_apart(file.place, self.options) if file.place.is_local else {}
            for group in groups(file.place, file.name, self.options, part):
                for sample in samples_of(group, self.options, apart):
                    empty = False
                    yield sample
                if not group.images and group.labels and group.key not in apart:
                    name = f"{file.name}/{group.key}"
                    yield Sample(name, None, None, "no image beside its label")
        except Damaged as error:
            broken = f"the archive is damaged: {error}"
        except BROKEN as error:
            broken = f"the archive ends early or is broken: {error}"
        if broken is not None:
            yield Sample(file.name, None, None, broken)
        elif empty and part is None:
            yield Sample(file.name, None, None, "the archive holds no image")

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that names of archives tell, or folders within the archives."""
        return super().parts() or self._member_parts

    def notes(self) -> list[str]:
        """Return which images of a key are samples where it has several."""
        notes = []
        for kinds in self._peeked:
            if len(kinds) > 1:
                used = [kinds[position] for position in chosen_kinds(kinds, self.options.column)]
                rest = [kind for kind in kinds if kind not in used]
                said = f"left out: {and_more(rest)}" if rest else "each is a row"
                notes.append(f"images of a key: {and_more(used)} ({said}; data.column chooses)")
                break
        left_out = self.left_out() if not self._member_parts else []
        return [*notes, f"left out: {and_more(left_out)}"] if left_out else notes

    @cached_property
    def _peeked(self) -> list[list[str]]:
        """Return the kinds of images of each key, for the first members of the first archive."""
        kinds: dict[str, list[str]] = {}
        for member in _some_members(self.listed[0].place):
            if member.is_image and member.kind not in kinds.setdefault(member.key, []):
                kinds[member.key].append(member.kind)
        return list(kinds.values())

    @property
    def _kinds(self) -> set[str]:
        return {kind for kinds in self._peeked for kind in kinds}

    @cached_property
    def _member_parts(self) -> dict[str, list[str]]:
        """Return the parts that folders within the archives tell, if there are several.

        An archive is only read through for this if its first members are in such a folder.
        """
        if super().parts():
            return {}
        found: dict[str, list[str]] = {}
        for file in self.listed:
            if any(member.part for member in _some_members(file.place)):
                for member in _some_members(file.place, None):
                    folder = member.name.rpartition("/")[0]
                    names = found.setdefault(member.part or TRAIN, [])
                    if folder not in names and len(names) < _PEEKED:
                        names.append(folder)
        return found if len(found) > 1 or (found and self.options.split is not None) else {}


def _some_members(place: Place, most: int | None = _PEEKED) -> Iterator[Member]:
    try:
        yield from islice(members(place, quickly=True), most)
    except BROKEN:
        return
