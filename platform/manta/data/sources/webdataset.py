"""Source of WebDataset archives: tar files in which members with the same stem form a sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from manta.data.names import first_names
from manta.data.sources._archive import BROKEN, ENDINGS, Damaged, Member, members, own_key
from manta.data.sources._base import SOURCES, Sample
from manta.data.sources._grouping import chosen_kinds, groups, labels_apart, refuse_unknown_kind
from manta.data.sources._grouping import samples as samples_of
from manta.data.sources._layout import TRAIN
from manta.data.sources._listing import Files, Listed, beside_images, claimed
from manta.errors import DataError
from manta.files import Place

TarUnit = tuple[Listed, str | None, bool]
"""Archive, the part whose members are read (None: all), and whether another archive may hold it."""
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
        inside = bool(self._member_parts)
        part = self.chosen_part() if inside else None
        files = self.listed if inside else self.chosen_files()
        if not inside and self._has_late_parts:
            part = TRAIN
        yield from ((file, part, inside) for file in files)

    def read(self, unit: TarUnit) -> Iterator[Sample]:
        file, part, is_elsewhere = unit
        empty, broken = True, None
        try:
            apart = labels_apart(file.place, self.options) if file.place.is_local else {}
            for group in groups(file.place, file.name, self.options, part):
                for sample in samples_of(group, self.options, apart):
                    empty = False
                    yield sample
                for key in group.lonely(apart):
                    yield Sample(f"{file.name}/{key}", None, None, "no image beside its label")
        except Damaged as error:
            broken = f"the archive is damaged: {error}"
        except BROKEN as error:
            broken = f"the archive ends early or is broken: {error}"
        if broken is not None:
            yield Sample(file.name, None, None, broken)
        elif empty and not is_elsewhere:
            yield Sample(file.name, None, None, "the archive holds no image")

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that names of archives tell, or folders within the archives."""
        return super().parts() or self._member_parts

    def notes(self) -> list[str]:
        """Return which images of a key are samples where it has several."""
        notes = []
        for kinds in self._peeked:
            if len(kinds) > 1 and not all(own_key("", kind.rpartition(".")[0]) for kind in kinds):
                used = [kinds[position] for position in chosen_kinds(kinds, self.options.column)]
                rest = [kind for kind in kinds if kind not in used]
                said = f"left out: {first_names(rest)}" if rest else "each is a row"
                notes.append(f"images of a key: {first_names(used)} ({said}; data.column chooses)")
                break
        left_out = self.left_out() if not self._member_parts else []
        return [*notes, f"left out: {first_names(left_out)}"] if left_out else notes

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

        An archive is only read through for this if its first members are in such a folder, or if
        a part was asked for.
        """
        if super().parts():
            return {}
        found: dict[str, list[str]] = {}
        without = []
        for file, parts in zip(self.listed, self._first_parts, strict=True):
            if parts == {None}:
                without.append(file.name)
            elif parts:
                for member in _some_members(file.place, None):
                    folder = member.name.rpartition("/")[0]
                    names = found.setdefault(member.part or TRAIN, [])
                    if folder not in names and len(names) < _PEEKED:
                        names.append(folder)
        if found and without:
            found.setdefault(TRAIN, []).extend(without)
        return found if len(found) > 1 or (found and self.options.split is not None) else {}

    @cached_property
    def _first_parts(self) -> list[set[str | None]]:
        """Return the parts of each archive's first members; of all if a part was asked for."""
        most = _PEEKED if self.options.split is None else None
        return [{one.part for one in _some_members(file.place, most)} for file in self.listed]

    @property
    def _has_late_parts(self) -> bool:
        """Return whether members of other parts that come late in an archive are left out.

        Not if all of an archive's first members are of a part: then its one part is read.
        """
        if super().parts() or self.options.split is not None:
            return False
        return not any(part for parts in self._first_parts for part in parts)


def _some_members(place: Place, most: int | None = _PEEKED) -> Iterator[Member]:
    try:
        yield from islice(members(place, quickly=True), most)
    except BROKEN:
        return
