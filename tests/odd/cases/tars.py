"""Tar archives as people have them: names, labels, compression, damage."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from odd.case import Case, colour_of, encoded

COLOURS = [colour_of(number) for number in range(5)]
A, B, C, D = (encoded(colour) for colour in COLOURS[:4])
Members = list[tuple[str, bytes]]
TWO: Members = [("0.png", A), ("1.png", B)]


def tar(path: Path, members: Members, mode: str = "w", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def case(name: str, members: Members, **expected: Any) -> Case:
    return Case(f"tars/{name}", lambda folder: tar(folder / "x.tar", members), **expected)


def made(name: str, make: Callable[[Path], Path], **expected: Any) -> Case:
    return Case(f"tars/{name}", make, **expected)


NAMES = [
    case(
        "dots_in_names",
        [("a.v2.2024.png", A), ("a.v2.2025.png", B), ("./dir.v2/img.0001.png", C)],
        rows=3,
        pixels={0: COLOURS[0], 1: COLOURS[1], 2: COLOURS[2]},
    ),
    case(
        "labels_of_dotted_names",
        [("img.0001.png", A), ("img.0001.cls", b"4"), ("img.0002.png", B), ("img.0002.cls", b"2")],
        rows=2,
        labels=[1, 0],
        classes=["2", "4"],
    ),
    case(
        "several_images_a_key",
        [("0.left.png", A), ("0.right.png", B), ("0.cls", b"1"), ("1.left.png", C)],
        rows=3,
        labels=[0, 0, None],
        notes=("images of a key: left.png, right.png (each is a row; data.column chooses)",),
    ),
    case(
        "one_of_several_images",
        [("0.left.png", A), ("0.right.png", B), ("1.left.png", C)],
        rows=1,
        pixels={0: COLOURS[1]},
        quarantined={"x.tar/1.left.png": "no .right beside it"},
        options={"column": "right"},
    ),
    case(
        "unknown_kind",
        [("0.left.png", A), ("0.right.png", B)],
        error="has no images .middle; choose one of left.png, right.png",
        options={"column": "middle"},
    ),
    case(
        "mask_beside_image",
        [("0.png", A), ("0.mask.png", B), ("1.mask.png", B), ("1.png", C)],
        rows=2,
        pixels={0: COLOURS[0], 1: COLOURS[2]},
        notes=("left out: mask.png",),
    ),
    case(
        "numbered_mask_beside_image",
        [("1.jpg", A), ("1.seg2.png", B), ("1.cls", b"3"), ("2.512px.jpg", C), ("2.cls", b"5")],
        rows=2,
        labels=[0, 1],
        classes=["3", "5"],
        pixels={0: COLOURS[0], 1: COLOURS[2]},
    ),
    case(
        "numbered_images_share_a_label",
        [("1.0.jpg", A), ("1.1.jpg", B), ("1.cls", b"b"), ("2.0.jpg", C), ("2.cls", b"a")],
        rows=3,
        labels=[1, 1, 0],
    ),
    case(
        "numbered_label_without_image",
        [("1.0.jpg", A), ("1.0.cls", b"b"), ("1.1.cls", b"a")],
        rows=1,
        quarantined={"x.tar/1.1": "no image beside its label"},
    ),
    case(
        "same_key_in_a_row",
        [("0.png", A), ("0.cls", b"1"), ("0.png", B), ("0.cls", b"2")],
        rows=2,
        labels=[0, 1],
        pixels={1: COLOURS[1]},
    ),
    case(
        "same_key_apart", [("0.png", A), ("1.png", B), ("0.png", C)], rows=3, pixels={2: COLOURS[2]}
    ),
    case(
        "labels_after_all_images",
        [*TWO, ("0.cls", b"5"), ("1.cls", b"3")],
        rows=2,
        labels=[1, 0],
        classes=["3", "5"],
    ),
    case(
        "upper_case",
        [("A.PNG", A), ("A.CLS", b"3"), ("B.JPEG", encoded(COLOURS[1], "JPEG"))],
        rows=2,
        labels=[0, None],
    ),
    case(
        "other_formats",
        [
            ("0.bmp", encoded(COLOURS[0], "BMP")),
            ("1.tif", encoded(COLOURS[1], "TIFF")),
            ("2.gif", encoded(COLOURS[2], "GIF")),
            ("3.ppm", encoded(COLOURS[3], "PPM")),
            ("4.webp", encoded(COLOURS[4], "WEBP", lossless=True)),
        ],
        rows=5,
        pixels=dict(enumerate(COLOURS)),
    ),
    case("absolute_and_upward_names", [("/etc/0.png", A), ("../../1.png", B)], rows=2),
    case("long_names_in_pax", [(f"{'long/' * 60}фото.png", A), (f"{'x' * 140}.png", B)], rows=2),
    case(
        "litter", [("__MACOSX/._0.png", b"x"), ("._1.png", b"x"), (".DS_Store", b"x"), *TWO], rows=2
    ),
    made(
        "name_not_utf8",
        lambda folder: tar(
            folder / "x.tar",
            [("caf\udce9.png", A), ("caf\udce8.png", B)],
            encoding="utf-8",
            errors="surrogateescape",
        ),
        rows=2,
        pixels={1: COLOURS[1]},
    ),
    case(
        "member_that_is_no_image",
        [*TWO, ("2.png", b"<html>")],
        rows=2,
        quarantined={"x.tar/2.png": "not an image"},
    ),
    case("empty_member", [*TWO, ("2.png", b"")], rows=2, quarantined={"x.tar/2.png": "zero bytes"}),
]


def labelled(name: str, kind: str, label: bytes, labels: list[int] | None, **expected: Any) -> Case:
    members = [("0.png", A), (f"0.{kind}", label), ("1.png", B), (f"1.{kind}", b"0")]
    return case(f"labels/{name}", members, rows=2, labels=labels, **expected)


LABELS = [
    labelled("words", "cls", b"a dog\n", [1, 0], classes=["0", "a dog"]),
    labelled("huge", "cls", b"1000000007", [1, 0]),
    labelled("json_object", "cls", b'{"label": 7}', [1, 0]),
    labelled("json_member", "json", b'{"width": 3, "label": "x"}', [1, 0], classes=["0", "x"]),
    labelled("captions_are_none", "txt", b"a cat on a mat", None),
    labelled("named_member", "breed", b"pug", [1, 0], options={"labels": "breed"}),
    labelled("nested", "json", b"[" * 100_000, [None, 0]),
    labelled("not_utf8", "json", b'{"label": "\\ud800x"}', [1, 0], classes=["0", r"\ud800x"]),
    labelled("not_wanted", "cls", b"3", None, options={"labels": "none"}),
    labelled("not_text", "cls", b"\xff\xfe\x00", [1, 0]),
    case(
        "labels/folders",
        [("set/cat/0.png", A), ("set/dog/0.png", B)],
        rows=2,
        labels=[0, 1],
        classes=["cat", "dog"],
        options={"labels": "folders"},
    ),
    case(
        "labels/lonely",
        [*TWO, ("2.cls", b"1"), ("3.png", C), ("3.cls", b"0")],
        rows=3,
        labels=[None, None, 0],
        quarantined={"x.tar/2": "no image beside its label"},
    ),
]


def zstd(folder: Path) -> Path:
    plain = tar(folder / "plain", TWO).read_bytes()
    (folder / "x.tar.zst").write_bytes(pa.compress(plain, "zstd", asbytes=True))
    return folder / "x.tar.zst"


def gzip_by_another_name(folder: Path) -> Path:
    path = tar(folder / "x.tar", TWO)
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def cut_off(folder: Path) -> Path:
    path = tar(folder / "x.tar", [*TWO, ("2.png", C)], format=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[: 1024 + 512 + 30])
    return path


def cut_off_gzip(folder: Path) -> Path:
    path = tar(folder / "x.tar.gz", [*TWO, ("2.png", bytes(range(256)) * 400)], "w:gz")
    path.write_bytes(path.read_bytes()[:-120])
    return path


def damaged(folder: Path) -> Path:
    path = tar(folder / "x.tar", [*TWO, ("2.png", C)], format=tarfile.USTAR_FORMAT)
    content = bytearray(path.read_bytes())
    content[1024 : 1024 + 100] = b"?" * 100  # the header of the second member
    path.write_bytes(bytes(content))
    return path


def joined(folder: Path) -> Path:
    first, second = tar(folder / "a", [("0.png", A)]), tar(folder / "b", [("1.png", B)])
    (folder / "x.tar").write_bytes(first.read_bytes() + second.read_bytes())
    return folder / "x.tar"


def links(folder: Path) -> Path:
    path = tar(folder / "x.tar", [("0.png", A)])
    with tarfile.open(path, "a") as archive:
        for name, kind in (("1.png", tarfile.LNKTYPE), ("2.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.png"
            archive.addfile(info)
        for name, kind in (("pipe.png", tarfile.FIFOTYPE), ("tty.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
    return path


def parts(folder: Path) -> Path:
    tar(folder / "train-000.tar", TWO)
    tar(folder / "test-000.tar", [("2.png", C)])
    return folder


def parts_in_folders(folder: Path) -> Path:
    tar(folder / "train" / "0.tar", TWO)
    tar(folder / "val" / "0.tar", [("2.png", C)])
    return folder


def broken_beside(folder: Path) -> Path:
    tar(folder / "a.tar", TWO)
    (folder / "b.tar").write_bytes(b"")
    (folder / "c.tar").write_bytes(b"<html>not found</html>" * 100)
    tar(folder / "d.tar", [])
    return folder


def beside_photographs(folder: Path) -> Path:
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}.png").write_bytes(encoded(colour))
    tar(folder / "backup.tar", TWO)
    return folder


INSIDE = [("data/train/0.png", A), ("data/train/1.png", B), ("data/test/2.png", C)]

ARCHIVES = [
    *(
        made(
            f"compressed/{suffix}",
            lambda folder, suffix=suffix, mode=mode: tar(folder / f"x.{suffix}", TWO, mode),
            rows=2,
            pixels={1: COLOURS[1]},
        )
        for suffix, mode in (
            ("tar.gz", "w:gz"),
            ("tgz", "w:gz"),
            ("tar.bz2", "w:bz2"),
            ("tar.xz", "w:xz"),
        )
    ),
    made("compressed/tar.zst", zstd, rows=2, pixels={1: COLOURS[1]}),
    made("compressed/by_another_name", gzip_by_another_name, rows=2),
    made("cut_off", cut_off, rows=1, quarantined={"x.tar": "ends early"}),
    made("cut_off_gzip", cut_off_gzip, rows=2, quarantined={"x.tar.gz": "ends early"}),
    made(
        "labels_after_all_images_compressed",
        lambda folder: tar(folder / "x.tgz", [*TWO, ("0.cls", b"b"), ("1.cls", b"a")], "w:gz"),
        rows=2,
        labels=[1, 0],
    ),
    made(
        "damaged_header",
        damaged,
        rows=2,
        pixels={1: COLOURS[2]},
        quarantined={"x.tar": "is damaged"},
    ),
    made("joined", joined, rows=2, pixels={1: COLOURS[1]}),
    made(
        "links",
        links,
        rows=1,
        quarantined={
            "x.tar/1.png": "to 0.png; not followed",
            "x.tar/2.png": "to 0.png; not followed",
        },
    ),
    made("parts", parts, rows=2, splits={"train": 2, "test": None}),
    made(
        "parts_in_folders",
        parts_in_folders,
        rows=1,
        pixels={0: COLOURS[2]},
        options={"split": "val"},
    ),
    case("parts_within", INSIDE, rows=2, splits={"train": 2, "test": None}),
    case("parts_within_test", INSIDE, rows=1, pixels={0: COLOURS[2]}, options={"split": "test"}),
    made(
        "broken_beside",
        broken_beside,
        rows=2,
        quarantined={"b.tar": "broken", "c.tar": "is damaged", "d.tar": "holds no image"},
    ),
    made("beside_photographs", beside_photographs, error="an archive (backup.tar) and image files"),
    case("nothing_inside", [("readme.txt", b"x")], error="the archive holds no image"),
    case(
        "json_list",
        [("0.png", A), ("0.json", json.dumps([{"a": 1}]).encode())],
        rows=1,
        labels=None,
    ),
]

CASES: list[Case] = [*NAMES, *LABELS, *ARCHIVES]
