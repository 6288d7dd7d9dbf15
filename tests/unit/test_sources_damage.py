"""Damaged tables, archives and lists: a reason or one line, never another error."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from manta.data.sources import SourceOptions, open_source
from manta.errors import MantaError
from odd.case import Case, all_cases

TOPICS = ("tables/", "hf_disk/", "tars/", "lists/")
CASES: list[Case] = [
    case for case in all_cases("CASES") if case.error is None and case.name.startswith(TOPICS)
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes that are cut off, changed, lengthened or shortened at a random place."""
    content = bytearray(data)
    place = draw.randrange(len(content))
    kind = draw.choice(["cut", "change", "insert", "delete"])
    if kind == "cut":
        del content[place:]
    elif kind == "change":
        for _ in range(draw.randrange(1, 8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    elif kind == "insert":
        content[place:place] = draw.randbytes(draw.randrange(1, 30))
    else:
        del content[place : place + draw.randrange(1, 40)]
    return bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_damage_ends_in_a_reason_or_a_line(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    for number, case in enumerate(draw.sample(CASES, 12)):
        folder = tmp_path / str(number)
        folder.mkdir()
        location = case.make(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        victim = draw.choice(
            [path for path in files if path.suffix != ".png" and path.stat().st_size]
        )
        victim.write_bytes(damaged(victim.read_bytes(), draw))
        line = None
        try:
            source = open_source(location, SourceOptions(**case.options))
            source.notes()
            for sample in (sample for unit in source.units() for sample in source.read(unit)):
                assert (sample.data is None) == (sample.reason is not None)
        except MantaError as error:
            line = str(error)
        assert line is None or "\n" not in line
