"""Lists of files as people have them: headers, order, separators, encodings, paths."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odd.case import Case, colour_of, encoded, write

COLOURS = [colour_of(number) for number in range(4)]
PIXELS = {0: COLOURS[0], 2: COLOURS[2]}
GONE = "No such file"


def photographs(folder: Path, names: str = "0.png 1.png 2.png") -> None:
    for number, name in enumerate(names.split()):
        write(folder / "images" / name, encoded(COLOURS[number]))


def listed(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """Return a function that writes three photographs and a list of them."""

    def make(folder: Path) -> Path:
        photographs(folder)
        return write(folder / name, content)

    return make


def case(name: str, file: str, content: str | bytes, **expected: Any) -> Case:
    if "error" not in expected:
        expected = {"rows": 3, "labels": [1, 0, 1], "pixels": PIXELS} | expected
    return Case(f"lists/{name}", listed(file, content), **expected)


def rows(line: str, header: str = "", labels: str = "dog cat dog") -> str:
    """Return a list of the three photographs: `{p}` is the path in a line, `{l}` the label."""
    words = labels.split()
    lines = [line.format(p=f"images/{n}.png", n=n, l=word) for n, word in enumerate(words)]
    return "\n".join([header, *lines] if header else lines) + "\n"


PLAIN = rows("{p},{l}", "path,label")
NO_TEXT = [
    case(f"no_text/{number}{suffix}", f"x{suffix}", content, error="is not a text file")
    for suffix in (".csv", ".txt", ".jsonl", ".json")
    for number, content in enumerate(
        (encoded(), b"\x89PNG\0\0", gzip.compress(PLAIN.encode()), bytes(range(256)) * 9)
    )
]
HEADERS = [
    case(
        "a_zero_byte",
        "x.csv",
        f"{PLAIN}a\0.png,dog\n",
        quarantined={"a\0.png": "embedded null byte"},
    ),
    case("usual", "x.csv", PLAIN, classes=["cat", "dog"]),
    case("no_header", "x.csv", rows("{p},{l}")),
    case("image_path_and_class", "x.csv", rows("{p},{l}", "image_path,class")),
    case("semicolon", "x.csv", rows("{p};{l}", "filename;label")),
    case("bar", "x.csv", rows("{p}|{l}", "file|category")),
    case("tab_in_csv", "x.csv", rows("{p}\t{l}", "file\tlabel")),
    case("comma_in_tsv", "x.tsv", rows("{p},{l}", "path,label")),
    case("label_first", "x.csv", rows("{l},{p}", "label,path")),
    case("label_first_without_header", "x.csv", rows("{l},{p}")),
    case("foreign_header", "x.csv", rows("{p};{l}", "Bild;Art")),
    case("header_in_capitals", "x.csv", rows("{p},{l}", "Image Path,Label")),
    case("index_column", "x.csv", rows("{n},{p},{l}", ",path,label")),
    case("many_columns", "x.csv", rows("{n},{p},3.5,{l},x", "id,file_name,size,species,note")),
    case(
        "no_column_of_labels",
        "x.csv",
        rows("{n},{p},3.5,{l}", "id,file_name,size,bird"),
        labels=None,
        notes=("none of the columns id, size, bird; data.labels chooses one",),
    ),
    case(
        "labels_chosen",
        "x.csv",
        rows("{n},{p},3.5,{l}", "id,file_name,size,bird"),
        options={"labels": "bird"},
    ),
    case("labels_not_wanted", "x.csv", PLAIN, labels=None, options={"labels": "none"}),
    case(
        "labels_misspelt",
        "x.csv",
        PLAIN,
        error="did you mean 'label'?",
        options={"labels": "lable"},
    ),
    case(
        "labels_are_folders",
        "x.txt",
        rows("{p}"),
        labels=[0, 0, 0],
        classes=["images"],
        options={"labels": "folders"},
    ),
    case("column_by_number", "x.csv", rows("{n},{p},{l}"), options={"column": "2", "labels": "3"}),
    case(
        "two_columns_of_files",
        "x.csv",
        rows("{p},{p},{l}", "left,right,label"),
        error="has 2 columns of image files: left, right; choose one, as in data.column=left",
    ),
    case(
        "two_columns_one_chosen",
        "x.csv",
        rows("images/gone.png,{p},{l}", "left,right,label"),
        options={"column": "right"},
    ),
    case("mask_beside_image", "x.csv", rows("masks/{n}.png,{p},{l}", "mask,image,label")),
    case(
        "pixels_in_columns",
        "x.csv",
        ",".join(["label", *(f"pixel{n}" for n in range(784))]) + "\n" + "0," * 784 + "0\n",
        error="holds pixels as numbers, not files",
    ),
    case(
        "pixels_in_a_cell",
        "x.csv",
        "emotion,pixels,Usage\n3," + "70 80 82 " * 700 + ",Training\n",
        error="holds pixels as numbers, not files",
    ),
]

TEXTS = [
    case("utf8_mark", "x.csv", b"\xef\xbb\xbf" + PLAIN.encode()),
    case("utf8_mark_in_txt", "x.txt", b"\xef\xbb\xbf" + rows("{p}").encode(), labels=None),
    case("utf16", "x.csv", PLAIN.encode("utf-16")),
    case("utf16_without_mark", "x.csv", PLAIN.encode("utf-16-le")),
    case("utf16_big_end", "x.txt", b"\xfe\xff" + rows("{p}").encode("utf-16-be"), labels=None),
    case("utf32", "x.csv", PLAIN.encode("utf-32")),
    case(
        "latin_labels",
        "x.csv",
        rows("{p},{l}", "path,label", "thé café thé").encode("cp1252"),
        classes=["café", "thé"],
    ),
    case("windows_line_ends", "x.csv", PLAIN.replace("\n", "\r\n")),
    case("old_mac_line_ends", "x.csv", PLAIN.replace("\n", "\r")),
    case("no_last_line_end", "x.csv", PLAIN.rstrip("\n")),
    case("quotes", "x.csv", rows('"{p}","{l}"', '"path","label"')),
    case("spaces_around", "x.csv", rows(" {p} , {l} ", " path , label ")),
    case("blank_lines", "x.csv", PLAIN.replace("\n", "\n\n") + ",\n"),
    case("comments", "x.csv", "# made by hand\n" + PLAIN),
    case(
        "comments_in_txt",
        "x.txt",
        "# made by hand, see https://example.org\n" + rows("{p}"),
        labels=None,
    ),
    case(
        "open_quote", "x.csv", PLAIN.replace("images/1", '"images/1'), error="a quote is not closed"
    ),
    case(
        "row_without_path",
        "x.csv",
        PLAIN + ",bird\n",
        quarantined={"x.csv": "names no file: line 5"},
    ),
    case("labels_missing", "x.csv", PLAIN.replace(",cat", ","), labels=[0, None, 0]),
    case("short_rows", "x.csv", PLAIN.replace(",cat", ""), labels=[0, None, 0]),
    case("no_lines", "x.txt", "\n\n", error="names no file"),
    case("header_alone", "x.csv", "path,label\n", error="names no file"),
    case("zero_bytes", "x.csv", b"", error="names no file"),
]


def home(folder: Path) -> Path:
    photographs(folder)
    lines = [f"file://{folder}/images/0.png", f"{folder}/images/1.png", "./images/../images/2.png"]
    return write(folder / "x.txt", "\n".join(lines))


def beside(folder: Path) -> Path:
    photographs(folder)
    return write(folder / "x.csv", rows("{n}.png,{l}", "file,label"))


def above(folder: Path) -> Path:
    photographs(folder)
    return write(folder / "splits" / "train.txt", rows("{p}"))


def ids(folder: Path) -> Path:
    photographs(folder, "a7.jpg b2.png c0.jpeg")
    return write(folder / "x.csv", "image_id,dx\na7,mel\nb2,nv\nc0,mel\n")


def spaces(folder: Path) -> Path:
    names = ["my photo 1.png", "#2.png", "a,b;c.png"]
    for number, name in enumerate(names):
        write(folder / name, encoded(COLOURS[number]))
    return write(folder / "x.txt", "\n".join(["# a list", *names, '"my photo 1.png"']))


PATHS = [
    case("windows_paths", "x.csv", rows("images\\{n}.png,{l}", "path,label")),
    case(
        "missing",
        "x.txt",
        rows("{p}") + "images/gone.png\n",
        labels=None,
        quarantined={"images/gone.png": GONE},
    ),
    case("all_missing", "x.txt", "a/0.png\na/1.png\n", error="none of its 2 files is there"),
    case("the_only_one_missing", "x.txt", "a/0.png\n", error="a/0.png was looked for in /"),
    case(
        "variables_stay",
        "x.txt",
        rows("{p}") + "$HOME/0.png\n",
        labels=None,
        quarantined={"$HOME/0.png": GONE},
    ),
    case(
        "a_folder",
        "x.txt",
        rows("{p}") + "images\n",
        labels=None,
        quarantined={"images": "not a file"},
    ),
    Case("lists/urls_and_dots", home, rows=3, labels=None, pixels=PIXELS),
    Case("lists/images_beside", beside, rows=3, labels=[1, 0, 1], notes=("paths begin in",)),
    Case("lists/folder_above", above, rows=3, labels=None, pixels=PIXELS),
    Case("lists/ids_without_ending", ids, rows=3, labels=[0, 1, 0], pixels=PIXELS),
    Case("lists/names_with_spaces_and_marks", spaces, rows=4, labels=None, pixels=PIXELS),
    case(
        "several_parts",
        "x.csv",
        "path,label,split\nimages/0.png,a,train\nimages/1.png,b,test\nimages/2.png,b,train\n",
        rows=2,
        labels=[0, 1],
        pixels={1: COLOURS[2]},
        splits={"train": 2, "test": None},
    ),
    case(
        "several_parts_test",
        "x.csv",
        "path,label,split\nimages/0.png,a,train\nimages/1.png,b,test\n",
        rows=1,
        labels=[0],
        pixels={0: COLOURS[1]},
        options={"split": "test"},
    ),
]

SPACED = [
    case("imagenet", "x.txt", rows("{p} {l}", labels="7 3 7")),
    case("imagenet_words", "x.txt", rows("{p}  {l}")),
    case("tabs_in_txt", "x.txt", rows("{p}\t{l}")),
    case("commas_in_txt", "x.txt", rows("{p},{l}", "path,label")),
    case("mxnet", "x.lst", rows("{n}\t{l}\t{p}", labels="7.0 3.0 7.0")),
    case(
        "numbered_lines",
        "x.txt",
        rows("{n} {p}"),
        labels=None,
        notes=("the numbers before the paths count the lines",),
    ),
    case(
        "several_numbers",
        "x.txt",
        rows("{p} 0 1 1"),
        labels=None,
        notes=("several numbers a line",),
    ),
]


CASES: list[Case] = [*NO_TEXT, *HEADERS, *TEXTS, *PATHS, *SPACED]
