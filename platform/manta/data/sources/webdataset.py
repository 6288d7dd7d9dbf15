"""Source of WebDataset archives: tar files in which members with the same stem form a sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from manta.data.sources._base import SOURCES, Sample, Source, holds, matching
from manta.files import Place

_SUFFIXES = (".tar", ".tgz")
_IMAGES = ("jpg", "jpeg", "png", "webp")


@SOURCES.register("webdataset")
class WebDataset(Source):
    """WebDataset tar file, folder of them or pattern; `.cls` members hold integer labels."""

    kind = "webdataset"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 2 if holds(place, _SUFFIXES) else 0

    @cached_property
    def _files(self) -> list[Place]:
        return matching(self.place, _SUFFIXES)

    def units(self) -> Iterator[str]:
        yield from (file.url for file in self._files)

    def read(self, unit: str) -> Iterator[Sample]:
        file = Place(unit)
        stem: str | None = None
        image: tuple[str, bytes] | None = None
        label: int | None = None
        broken: str | None = None
        try:
            # "r|*" reads forward only, so a tar of any size takes the memory of one member.
            with file.open() as handle, tarfile.open(fileobj=handle, mode="r|*") as archive:
                for member in archive:
                    if not member.isfile() or os.path.basename(member.name).startswith("."):
                        continue
                    folder, name = os.path.split(member.name)
                    key, _, kind = name.partition(".")
                    kind = kind.lower()
                    if os.path.join(folder, key) != stem:
                        if image is not None:
                            yield Sample(f"{file.name}/{image[0]}", image[1], label)
                        stem, image, label = os.path.join(folder, key), None, None
                    body = archive.extractfile(member)
                    if body is None:
                        continue
                    if kind.rsplit(".", 1)[-1] in _IMAGES and image is None:
                        image = (member.name, body.read())
                    elif kind == "cls":
                        text = body.read().decode(errors="replace").strip()
                        label = int(text) if text.lstrip("-").isdigit() else None
        except (tarfile.TarError, OSError, EOFError) as error:
            broken = f"the archive ends early or is broken: {error}"
        if image is not None:
            yield Sample(f"{file.name}/{image[0]}", image[1], label)
        if broken is not None:
            yield Sample(file.name, None, None, broken)

    def identity(self) -> list[Any]:
        return [file.identity() for file in self._files]
