"""Text as people have it: odd encodings, ragged tables, what is no text."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from odd.case import Command, write


@dataclass(frozen=True)
class TextCase:
    """Odd text, and what an ingest should make of it.

    Attributes:
        texts: of the rows in order; None is not checked.
        labels: names of the classes of the rows; None for data without labels.
        quarantined: path of each sample set aside, with a part of the reason.
        notes: parts of what is said.
        error: part of the one line by which the data are refused; nothing else is checked then.
        options, settings: of the ingest.
    """

    name: str
    make: Callable[[Path], Path]
    texts: Sequence[str] | None = None
    labels: Sequence[str | None] | None = None
    quarantined: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    error: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def file(name: str, data: str | bytes) -> Callable[[Path], Path]:
    """Return a maker of one file."""
    return lambda folder: write(folder / name, data)


def parquet(folder: Path) -> Path:
    texts = pa.array(["good", "", " \t", None, "also good"])
    pq.write_table(pa.table({"text": texts, "label": list("aabba")}), folder / "t.parquet")
    return folder / "t.parquet"


def parquet_of_bytes(folder: Path) -> Path:
    texts = pa.array([b"good", b"Nin\xf1o", b"\xff\xfe\x00"], pa.binary())
    pq.write_table(pa.table({"text": texts}), folder / "t.parquet")
    return folder / "t.parquet"


def two_tables(folder: Path) -> Path:
    write(folder / "a.csv", "text,label\ngood,x\n")
    write(folder / "b.csv", "kind\nno text here\n")
    return folder


def damaged(folder: Path) -> Path:
    whole = parquet(folder)
    return write(folder / "t.parquet", whole.read_bytes()[:-40])


LONG = "a word " * 1_428_571 + "end"
"""A line of 10 MB."""
WIDE = "één\r\ntwee\r\n"

SENTENCES = [
    TextCase(
        "texts/empty sentences and blanks",
        file("a.csv", 'text,label\ngood,x\n,x\n"   ",y\n"\t\n",y\nfine,y\n'),
        texts=["good", "fine"],
        labels=["x", "y"],
        quarantined={f"a.csv#{n}": "has no text" for n in (3, 4, 5)},
    ),
    TextCase(
        "texts/only punctuation and invisible letters",
        file("a.txt", "?!\n\u200b\u200b\nword\n"),
        texts=["?!", "word"],
        quarantined={"a.txt#2": "has no text"},
    ),
    TextCase(
        "texts/bytes that are not UTF-8",
        file("a.txt", b"good\nEl Ni\xf1o\n\xff\xfe\xfd\nfine\n"),
        texts=["good", "fine"],
        quarantined={"a.txt#2": "not UTF-8: byte 0xf1 at 5", "a.txt#3": "not UTF-8"},
    ),
    TextCase(
        "texts/the same with an encoding",
        file("a.txt", b"El Ni\xf1o\nfine\n"),
        texts=["El Niño", "fine"],
        settings={"encoding": "latin-1"},
    ),
    TextCase(
        "texts/an encoding that does not fit",
        file("a.txt", b"good\n\x81\x8d\n"),
        texts=["good"],
        quarantined={"a.txt#2": "not UTF-8"},
        settings={"encoding": "cp1252"},
    ),
    TextCase("texts/a line of 10 MB", file("a.txt", f"{LONG}\nshort\n"), texts=[LONG, "short"]),
    TextCase(
        "texts/ragged rows",
        file("a.csv", 'text,label\na b,x\nc, d,x\ne\n"f, g",y\nh,y,,,\n'),
        texts=["a b", "f, g", "h"],
        labels=["x", "y", "y"],
        quarantined={
            "a.csv#3": "has 3 cells, and the header 2",
            "a.csv#4": "has 1 cell, and the header 2",
        },
    ),
    TextCase(
        "texts/a quote that is never closed",
        file("a.csv", 'text,label\n"a,x\nb,y\n'),
        texts=['"a', "b"],
        labels=["x", "y"],
    ),
    TextCase(
        "texts/NUL bytes",
        file("a.csv", "text,label\n" + "a good long line of words,x\n" * 4 + "b\0c,x\n\0,y\n"),
        texts=["a good long line of words"] * 4 + ["b\0c"],
        labels=["x"] * 5,
        quarantined={"a.csv#7": "has no text"},
    ),
    TextCase("texts/nothing but NUL bytes", file("a.txt", bytes(100)), error="not a text file"),
    TextCase(
        "texts/a mark and Windows' line ends",
        file("a.csv", b"\xef\xbb\xbftext,label\r\ngood,x\r\nfine,y\r\n"),
        texts=["good", "fine"],
        labels=["x", "y"],
    ),
    TextCase(
        "texts/line ends of three systems",
        file("a.txt", b"one\rtwo\r\nthree\n\n\r\nfour"),
        texts=["one", "two", "three", "four"],
    ),
    TextCase("texts/UTF-16", file("a.txt", WIDE.encode("utf-16")), texts=["één", "twee"]),
    TextCase(
        "texts/UTF-16 without a mark",
        file("a.csv", ("text;n\n" + "a word;1\n" * 5).encode("utf-16-le")),
        texts=["a word"] * 5,
    ),
    TextCase("texts/UTF-32", file("a.txt", WIDE.encode("utf-32")), texts=["één", "twee"]),
    TextCase("texts/a gzip file", file("a.txt.gz", gzip.compress(b"one\n")), error="unpack it"),
    TextCase(
        "texts/a gzip file by another name", file("a.txt", gzip.compress(b"1\n")), error="is not a"
    ),
    TextCase(
        "texts/a table that is a zip", file("a.csv", b"PK\x03\x04" + bytes(99)), error="is not a"
    ),
    TextCase(
        "texts/doubled headers", file("a.csv", "text,text\na,b\n"), error="two columns named 'text'"
    ),
    TextCase(
        "texts/an unknown column",
        file("a.csv", "text,label\na,b\n"),
        error="has no column 'txt'; did you mean 'text'?",
        options={"column": "txt"},
    ),
    TextCase(
        "texts/an unknown column of labels",
        file("a.jsonl", '{"text": "a", "label": 1}\n'),
        error="has no key 'lable'; did you mean 'label'?",
        options={"labels": "lable"},
    ),
    TextCase("texts/an empty file", file("a.csv", ""), error="has no rows"),
    TextCase("texts/blank lines alone", file("a.txt", "\n \n\n"), error="none of the 0"),
    TextCase("texts/a header alone", file("a.csv", "text,label\n"), error="none of the 0"),
    TextCase(
        "texts/JSON lines that are broken",
        file("a.jsonl", '{"text": "a"}\n{"text": \n[1]\n\n{"text": "\\ud800"}\n{"text": 5}\n{}\n'),
        texts=["a", "5"],
        quarantined={
            "a.jsonl#2": "not a JSON object",
            "a.jsonl#3": "not a JSON object",
            "a.jsonl#5": "not UTF-8",
            "a.jsonl#7": "has no text",
        },
    ),
    TextCase(
        "texts/Parquet with empty rows",
        parquet,
        texts=["good", "also good"],
        labels=["a", "a"],
        quarantined={f"t.parquet#{n}": "has no text" for n in (1, 2, 3)},
    ),
    TextCase(
        "texts/Parquet with bytes",
        parquet_of_bytes,
        texts=["good"],
        quarantined={"t.parquet#1": "not UTF-8", "t.parquet#2": "not UTF-8"},
        options={"column": "text"},
    ),
    TextCase("texts/Parquet that is damaged", damaged, error="not a readable Parquet file"),
    TextCase(
        "texts/a table without the column",
        two_tables,
        texts=["good"],
        quarantined={"b.csv": "has no column 'text'"},
        options={"column": "text", "labels": "none"},
    ),
]


def lines(folder: Path) -> None:
    write(folder / "a.txt", "one\ntwo\n")


def refused(name: str, *words: str, error: str) -> Command:
    """Return an ingest that is refused before anything is started."""
    return Command(f"texts/{name}", lines, ["ingest", "a.txt", "out", *words], error=error)


COMMANDS = [
    refused("no modality", "data.encoding=latin-1", error="say what the samples are"),
    refused("no data", "--modality", "text", "train.epochs=1", error="settings of data alone"),
    refused(
        "no encoding", "--modality", "text", "data.encoding=x", error="'x' is no encoding; utf-8"
    ),
    refused("no setting", "--modality", "text", "data.rows=line", error="did you mean 'row'?"),
]
