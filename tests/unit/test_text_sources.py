"""Sources of text: lines, documents, CSV, JSON lines, Parquet; what is wrong is set aside."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from manta.data.sources import Sample, Source, SourceOptions, open_source
from manta.errors import DataError

LATIN = {"encoding": "latin-1"}


def opened(place: Path | str, settings: dict[str, Any] | None = None, **options: Any) -> Source:
    pairs = tuple((settings or {}).items())
    return open_source(place, SourceOptions(modality="text", settings=pairs, **options))


def samples(
    place: Path | str, settings: dict[str, Any] | None = None, **options: Any
) -> list[Sample]:
    source = opened(place, settings, **options)
    return [sample for unit in source.units() for sample in source.read(unit)]


def texts(*arguments: Any, **options: Any) -> list[str | None]:
    found = samples(*arguments, **options)
    return [None if one.data is None else one.data.decode() for one in found]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_are_rows_and_blank_lines_are_none(tmp_path: Path) -> None:
    place = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\n\r\n  two \x85 2\rthree\n \t\nfour")
    first, *_, last = samples(place)
    assert (first.path, first.data, first.label) == ("a.txt#1", b"one", None)
    assert (last.path, last.data) == ("a.txt#6", b"four")
    assert [one.data for one in samples(place)][1:3] == [b"two \x85 2", b"three"]
    marked = samples(place, {"encoding": "cp1252"})  # a mark says more than the setting
    assert [one.data for one in marked] == [one.data for one in samples(place)]
    wide = write(tmp_path / "w.txt", "één\ntwee\n".encode("utf-16"))
    assert texts(wide) == ["één", "twee"]


def test_an_encoding_can_be_said_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "a.all", "0 El Niño ?\n1 Gödel\n".encode("latin-1"))
    assert samples(place, labels="first")[0].data == b"El Ni\xf1o ?"
    assert texts(place, LATIN, labels="first") == ["El Niño ?", "Gödel"]
    with pytest.raises(DataError, match="'latin-x' is no encoding"):
        samples(place, {"encoding": "latin-x"})


def test_labels_stand_first_or_last_or_where_a_pattern_says(tmp_path: Path) -> None:
    place = write(tmp_path / "t.txt", "DESC:manner How so ?\nHUM:ind Who ?\nnothing\n")
    first = samples(place, labels="first")
    assert [one.label for one in first] == ["DESC:manner", "HUM:ind", "nothing"]
    assert [one.data for one in first] == [b"How so ?", b"Who ?", None]
    assert first[2].reason == "has no text"
    coarse = samples(place, labels=r"regex:(\w+):\w+ ")
    assert [one.label for one in coarse] == ["DESC", "HUM", None]
    assert coarse[0].data == b"How so ?"
    assert coarse[2].reason == "does not begin as data.labels says"
    (last,) = samples(write(tmp_path / "l.txt", "so it is 1\n"), labels="last")
    assert (last.data, last.label) == (b"so it is", 1)
    for labels, error in (("topic", "no column 'topic'"), ("regex:(", "no pattern")):
        with pytest.raises(DataError, match=error):
            samples(place, labels=labels)
    with pytest.raises(DataError, match="2 groups in brackets"):
        samples(place, labels="regex:(a)(b)")
    with pytest.raises(DataError, match="plain text without columns"):
        samples(place, column="text")


def reviews(folder: Path) -> Path:
    for name in ("train/pos/1", "train/neg/1", "train/unsup/1", "test/pos/2", "test/neg/2"):
        write(folder / f"{name}.txt", f"{name}\nand a second line\n")
    write(folder / "train" / "urls_pos.txt", "http://a\nhttp://b\n")
    write(folder / "notes.txt", "about\n")
    return folder


def test_files_in_folders_are_rows_and_the_folders_classes(tmp_path: Path) -> None:
    place = reviews(tmp_path / "imdb")
    source = opened(place)
    assert list(source.parts()) == ["test", "train", "unlabelled"]
    assert source.chosen_part() == "train"
    found = samples(place)
    assert [(one.path, one.label) for one in found] == [
        ("train/neg/1.txt", "neg"),
        ("train/pos/1.txt", "pos"),
    ]
    assert found[0].data == b"train/neg/1\nand a second line"
    notes = " ".join(source.notes())
    assert "a row is a file" in notes
    assert "left out: train/urls_pos.txt" in notes or "left out: notes.txt" in notes
    assert [one.label for one in samples(place, split="unlabelled")] == [None]
    assert len(samples(place, {"row": "line"}, split="test")) == 4
    assert samples(place, split="test", labels="none")[0].label is None


def test_a_flat_folder_has_lines_and_parts_by_name(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "a b\nc d\n")
    write(tmp_path / "test.txt", "e f\n")
    assert texts(tmp_path) == ["a b", "c d"]
    assert texts(tmp_path, split="test") == ["e f"]
    assert texts(tmp_path / "*.txt", split="all") == ["e f", "a b", "c d"]
    assert texts(tmp_path, {"row": "file"}) == ["a b\nc d"]


def test_csv_has_columns_by_name(tmp_path: Path) -> None:
    rows = '1,"a, b\n\nc ""d""",x,ann,train\n2,# e,y,bo,test\n\n3,,x,bo,train\n'
    table = f"id,Text,label,who,split\n{rows}"
    place = write(tmp_path / "t.csv", b"\xef\xbb\xbf" + table.encode())
    source = opened(place, group="who")
    assert source.parts() == {"train": ["train"], "test": ["test"]}
    assert source.notes() == ["text: column Text", "labels: column label"]
    first, empty = samples(place, group="who")
    assert (first.path, first.data) == ("t.csv#2", b'a, b\n\nc "d"')
    assert (first.label, first.group) == ("x", "ann")
    assert (empty.path, empty.reason, empty.data) == ("t.csv#7", "has no text", None)
    assert texts(place, split="test") == ["# e"]
    assert texts(place, split="all", column="label,who")[:3] == ["x", "ann", "y"]
    for wrong in ({"column": "Txt"}, {"labels": "lable"}, {"group": "whom"}):
        with pytest.raises(DataError, match=r"has no column .*did you mean"):
            samples(place, **wrong)


def test_semicolons_and_headers_without_usual_names(tmp_path: Path) -> None:
    place = write(tmp_path / "s.csv", "zin;getal\nja, en nee, ook;1\nnee;2\n")
    found = samples(place)
    assert [one.data for one in found] == [b"ja, en nee, ook", b"nee"]
    bare = write(tmp_path / "b.csv", "0,it is so\n1,it is not\n0,so it is\n1,not so\n")
    found = samples(bare)
    assert [(one.label, one.data) for one in found][:2] == [(0, b"it is so"), (1, b"it is not")]
    assert opened(bare).notes() == ["text: column 2 of 2", "labels: column 1 of 2"]
    assert samples(bare, column="2", labels="none")[0].label is None
    one = write(tmp_path / "o.csv", '"a, b"\n"c, d, e"\n')
    assert texts(one) == ["a, b", "c, d, e"]


def test_ragged_rows_and_open_quotes_are_not_taken_for_others(tmp_path: Path) -> None:
    place = write(tmp_path / "r.csv", 'text,label\na,1\nb, c,2\nd\n"e" f,3\n"g,4\nh,5\n')
    rows = samples(place)
    assert [(one.data, one.reason) for one in rows] == [
        (b"a", None),
        (None, "has 3 cells, and the header 2"),
        (None, "has 1 cell, and the header 2"),
        (b'"e" f', None),
        (b'"g', None),
        (b"h", None),
    ]
    tabs = 'text\tlabel\n"a\t1\nb"\t2\n"c\td"\t3\n"e\nf"\t4\n'
    assert texts(write(tmp_path / "r.tsv", tabs)) == ['"a', 'b"', "c\td", "e\nf"]


def test_a_text_file_with_tabs_is_a_table(tmp_path: Path) -> None:
    rows = "pair_ID\tsentence_A\tsentence_B\tscore\r\n1\ta cat\ta dog\t2.5\r\n2\tb\tc\t1\r\n"
    place = write(tmp_path / "sick.txt", rows)
    assert opened(place).kind == "text_table"
    assert texts(place) == ["a cat", "b"]
    assert "also: sentence_B" in opened(place).notes()[0]
    both = samples(place, column="sentence_A,sentence_B")
    assert [one.path for one in both[:2]] == ["sick.txt#2.0", "sick.txt#2.1"]
    assert [one.data for one in both] == [b"a cat", b"a dog", b"b", b"c"]
    assert opened(write(tmp_path / "plain.txt", "a\tb\nc\n")).kind == "text_lines"


def test_doubled_names_of_columns_are_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "d.csv", "text,text\na,b\n")
    with pytest.raises(DataError, match="two columns named 'text'"):
        samples(place)


def test_json_lines_have_keys(tmp_path: Path) -> None:
    records = [
        {"id": 1, "body": {"text": "één"}, "label": "x", "by": 1, "split": "train"},
        {"id": 2, "body": {"text": None}, "label": "y", "by": 2, "split": "train"},
        {"id": 3, "body": {"text": "\ud800"}, "label": "y", "by": 2, "split": "val"},
    ]
    lines = "\n".join(map(json.dumps, records)) + "\n[1]\n{"
    place = write(tmp_path / "j.jsonl", lines)
    found = samples(place, split="all", group="by")
    assert [(one.data, one.label, one.group) for one in found[:2]] == [
        ("één".encode(), "x", "1"),
        (None, "y", "2"),
    ]
    assert found[2].data == b"\xed\xa0\x80"  # no UTF-8: the inspector sets it aside
    assert [one.reason for one in found[3:]] == ["not a JSON object"] * 2
    (own, *broken) = samples(place, split="val", column="body.text")
    assert (own.path, [one.reason for one in broken]) == ("j.jsonl#3", ["not a JSON object"] * 2)
    with pytest.raises(DataError, match="no key 'txt'"):
        samples(place, column="txt")


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_tables_have_columns_of_strings(tmp_path: Path, ending: str) -> None:
    table = pa.table(
        {
            "id": ["u1", "u2", "u3"],
            "label": pa.array(["x", "y", None]).dictionary_encode(),
            "sentence": pa.array(["één", None, "  "]),
            "who": ["ann", "bo", "bo"],
            "n": [1, 2, 3],
        }
    )
    place = tmp_path / f"t.{ending}"
    write_table = pq.write_table if ending == "parquet" else pyarrow.feather.write_feather
    write_table(table, place)
    found = samples(place, group="who")
    assert opened(place).kind == f"text_{ending}"
    assert [(one.data, one.label, one.group) for one in found] == [
        ("één".encode(), "x", "ann"),
        (None, "y", "bo"),
        (None, None, "bo"),
    ]
    assert [one.reason for one in found] == [None, "has no text", "has no text"]
    assert texts(place, column="label", labels="none") == ["x", "y", None]
    with pytest.raises(DataError, match="no column 'sentense'"):
        samples(place, column="sentense")
    with pytest.raises(DataError, match="holds int64, not text"):
        samples(place, column="n")


def said(place: Path) -> str:
    """Return the error of a source, or the reason of its first sample."""
    try:
        return str(samples(place)[0].reason)
    except DataError as error:
        return str(error)


def test_what_is_no_text_says_so(tmp_path: Path) -> None:
    for name in ("a.txt", "b.csv", "c.jsonl"):
        place = write(tmp_path / name, b"\x1f\x8b\x08\x00" + bytes(range(256)))
        assert "not a text file" in said(place)
    with pytest.raises(DataError, match="unpack it"):
        opened(write(tmp_path / "d.txt.gz", b"\x1f\x8b\x08\x00"))
    with pytest.raises(DataError, match="no rows"):
        samples(write(tmp_path / "e.csv", ""))


def test_a_file_is_read_in_little_memory(tmp_path: Path) -> None:
    place = tmp_path / "big.txt"
    place.write_bytes((b"word " * 20 + b"\n") * 20_000)  # 2 MB
    table = tmp_path / "big.csv"
    table.write_bytes(b"text,label\n" + (b"word " * 20 + b",1\n") * 10_000 + b'"open,1\n')
    for file, rows in ((place, 20_000), (table, 10_001)):
        source = opened(file)
        (unit,) = source.units()
        tracemalloc.start()
        count = sum(1 for _ in source.read(unit))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == rows
        assert peak < 4e5


def test_images_are_chosen_as_before(tmp_path: Path) -> None:
    write(tmp_path / "list.txt", "a.png\tcat\nb.png\tdog\n")
    assert open_source(tmp_path / "list.txt").kind == "filelist"
    write(tmp_path / "t.csv", "path,label\na.png,1\n")
    assert open_source(tmp_path / "t.csv").kind == "filelist"
    with pytest.raises(DataError, match="no known kind"):
        open_source(write(tmp_path / "x.all", "0 a\n"))
