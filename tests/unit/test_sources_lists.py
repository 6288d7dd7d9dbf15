"""Lists of files: how their form is found, and where their paths lead."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manta.data.sources import Sample, Source, SourceOptions, open_source
from manta.data.sources._list_form import form_of
from manta.data.sources._lists import separator_of, spaced_pattern
from manta.data.sources._resolve import folders_of, locate, read_named
from manta.errors import DataError
from manta.files import Place

Png = Callable[..., bytes]


def write(path: Path, data: str | bytes) -> Place:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return Place.of(path)


def samples(source: Source) -> list[Sample]:
    return [sample for unit in source.units() for sample in source.read(unit)]


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("x.csv", "path,label\na.png,b\n", ","),
        ("x.csv", "path;label\na,1.png;b\nc,2.png;d\n", ";"),
        ("x.csv", "a.png\nb.png\n", None),
        ("x.tsv", "a, b.png\tc\nd, e.png\tf\n", "\t"),
        ("x.csv", "a.png|b\nc.png|d\n", "|"),
        ("x.txt", "a.png\tb\nc.png\td\n", "\t"),
        ("x.txt", "a,b.png\nc,d.png\n", ","),
        ("x.txt", "there,1.png\nc,d.png\n", None),
        ("x.txt", "a.png,b.png\nc.png,d.png\n", None),
        ("x.txt", "a.png\nb.png\n", None),
        ("x.txt", "", None),
    ],
)
def test_separators(tmp_path: Path, name: str, text: str, separator: str | None) -> None:
    write(tmp_path / "there,1.png", "x")
    assert separator_of(write(tmp_path / name, text)) == separator


@pytest.mark.parametrize(
    ("text", "is_spaced"),
    [
        ("a.JPEG 0\nb c.jpg 12\n", True),
        ("a.jpg golden retriever\n", True),
        ("0 a.jpg\n5 b.jpg\n", True),
        ("my photo.jpg\n", False),
        ("a.jpg 0\nb.jpg\n", False),
        ("a.jpg b.jpg\n", False),
    ],
)
def test_lines_of_path_and_label(tmp_path: Path, text: str, is_spaced: bool) -> None:
    assert (spaced_pattern(write(tmp_path / "x.txt", text)) is not None) == is_spaced


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("path,label\na.png,x\n", ("path", "label")),
        ("label,path\nx,a.png\n", ("path", "label")),
        ("id,image,mask,label\n1,a.png,m.png,x\n", ("image", "label")),
        ("id,file,width\n1,a.png,3\n", ("file", None)),
        ("image_id,dx\nISIC_1,mel\n", ("image_id", "dx")),
        ("Datei,Art\na.png,x\n", ("Datei", "Art")),
        ("a.png,x\nb.png,y\n", ("1", "2")),
        ("x,a.png\ny,b.png\n", ("2", "1")),
        ("7,3.0,a.png\n8,4.0,b.png\n", ("3", "2")),
        ("name,split,kind\na.png,train,x\n", ("name", "kind")),
    ],
)
def test_columns(tmp_path: Path, text: str, columns: tuple[str, str | None]) -> None:
    form = form_of(write(tmp_path / "x.csv", text), SourceOptions())
    label = None if form.label is None else form.columns[form.label]
    assert (form.columns[form.path], label) == columns


def test_columns_that_are_asked_for(tmp_path: Path) -> None:
    place = write(tmp_path / "x.csv", "Left Image,right,kind\na.png,b.png,x\n")
    form = form_of(place, SourceOptions(column="left_image", labels="kind"))
    assert (form.path, form.label) == (0, 2)
    with pytest.raises(DataError, match=r"no column 'rihgt'; did you mean 'right'"):
        form_of(place, SourceOptions(column="rihgt"))
    with pytest.raises(DataError, match=r"2 columns of image files: Left Image, right"):
        form_of(place, SourceOptions())


def test_paths_as_people_write_them(
    tmp_path: Path, make_png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("a/b.png", "a/c d.png", "a/é.png", "home/e.png", "a/plain.jpg", "~/own.png"):
        write(tmp_path / name, make_png(1))
    folder = Place.of(tmp_path)
    for text, name in (
        ("a/b.png", "a/b.png"),
        ("a\\b.png", "a/b.png"),
        ("C:\\a\\b.png", "/a/b.png"),
        (f"file://{tmp_path}/a/b.png", "a/b.png"),
        (f"file://{tmp_path}/a/c%20d.png", "a/c d.png"),
        (f"file://localhost{tmp_path}/a/b.png", "a/b.png"),
        ("~/e.png", "home/e.png"),
        ("~/own.png", "~/own.png"),
        ("a/plain", "a/plain.jpg"),
        ("a/\udce9.png", "a/é.png"),
        (str(tmp_path / "a" / "b.png"), "a/b.png"),
    ):
        if name.startswith("/"):
            continue
        assert locate(text, [folder]).url == str(tmp_path / name), text
    assert locate("s3://bucket/a.png", [folder]).url == "s3://bucket/a.png"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gone.png", "cannot be read: No such file or directory"),
        ("folder", "not a file"),
        ("a\x00b.png", "cannot be read: "),
        ("nowhere://x/a.png", "cannot be read: "),
        ("pipe", "not a file"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    data, why = read_named(text, [Place.of(tmp_path)])
    assert data is None
    assert str(why).startswith(reason)


def test_where_paths_begin(tmp_path: Path) -> None:
    for name in ("images/a.png", "train/b.png", "c.png", "lists/x.csv", "lists/data/d.png"):
        write(tmp_path / name, b"x")
    folder = Place.of(tmp_path)
    assert folders_of(["c.png"], folder) == [folder]
    assert folders_of(["a.png"], folder) == [folder / "images", folder]
    assert folders_of(["b.png"], folder, ["train"]) == [folder / "train", folder]
    assert folders_of(["gone.png"], folder) == [folder]
    assert folders_of(["images/a.png"], folder / "lists") == [folder, folder / "lists"]


def test_lists_of_a_folder_and_of_a_pattern(tmp_path: Path, make_png: Png) -> None:
    for number in range(3):
        write(tmp_path / "far" / f"{number}.png", make_png(number))
    near = tmp_path / "lists"
    write(near / "train.csv", f"path,label\n{tmp_path}/far/0.png,a\n../far/1.png,b\n")
    write(near / "test.csv", f"path,label\n{tmp_path}/far/2.png,a\n")
    source = open_source(near)
    assert (source.kind, list(source.parts())) == ("filelist", ["test", "train"])
    assert [s.label for s in samples(source)] == ["a", "b"]
    assert len(samples(open_source(near, SourceOptions(split="test")))) == 1
    assert len(samples(open_source(f"{near}/t*.csv", SourceOptions(split="all")))) == 3


def test_a_list_of_one_part_is_read(tmp_path: Path, make_png: Png) -> None:
    write(tmp_path / "a.png", make_png(0))
    write(tmp_path / "x.csv", "path,split\na.png,test\na.png,test\n")
    source = open_source(tmp_path / "x.csv")
    assert source.parts() == {}
    assert len(samples(source)) == 2


def test_a_long_list_is_streamed(tmp_path: Path, make_png: Png) -> None:
    write(tmp_path / "a.png", make_png(0))
    write(tmp_path / "x.csv", "path,label\n" + "a.png,b\n" * 600)
    units = list(open_source(tmp_path / "x.csv").units())
    assert [len(rows) for _, _, rows in units] == [256, 256, 88]


def test_a_listed_file_that_changes_is_noticed(tmp_path: Path, make_png: Png) -> None:
    write(tmp_path / "a.png", make_png(0))
    write(tmp_path / "x.csv", "path,label\na.png,b\nhttps://example.org/b.png,c\n")
    before = open_source(tmp_path / "x.csv").identity()
    assert open_source(tmp_path / "x.csv").identity() == before
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert open_source(tmp_path / "x.csv").identity() != before


def test_images_within_a_list_have_names_of_their_own(tmp_path: Path, make_png: Png) -> None:
    letters = [base64.b64encode(make_png(number)).decode() for number in range(2)]
    write(tmp_path / "x.csv", "image,label\n" + "".join(f"{text},a\n" for text in letters))
    found = samples(open_source(tmp_path / "x.csv"))
    assert [(s.path, s.data) for s in found] == [
        ("x.csv#2", make_png(0)),
        ("x.csv#3", make_png(1)),
    ]
