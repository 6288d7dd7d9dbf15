"""Archives: keys and kinds of members, labels, damage."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from manta.data.sources import Sample, SourceOptions, open_source
from manta.data.sources._archive import BROKEN, Damaged, may_hold, members, split_name
from manta.data.sources._grouping import chosen_kinds
from manta.errors import DataError
from manta.files import Place
from manta.modalities.image import verify

Png = Callable[..., bytes]


def tar(path: Path, files: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(path: Path, **options: str) -> list[Sample]:
    source = open_source(path, SourceOptions(**options))
    return [sample for unit in source.units() for sample in source.read(unit)]


@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [
        ("0001.jpg", "0001", "jpg"),
        ("./dir.v2/img.0001.JPG", "./dir.v2/img", "0001.jpg"),
        ("a/0001.left.jpg", "a/0001", "left.jpg"),
        ("0001.seg.png", "0001", "seg.png"),
        ("img.v2.0001.cls", "img", "v2.0001.cls"),
        ("readme", "readme", ""),
        ("a.b/c", "a.b/c", ""),
    ],
)
def test_keys_and_kinds(name: str, key: str, kind: str) -> None:
    assert split_name(name) == (key, kind)


@pytest.mark.parametrize(
    ("kinds", "asked", "positions"),
    [
        (["jpg"], None, [0]),
        (["seg.png", "jpg"], None, [1]),
        (["jpg", "png"], None, [0]),
        (["left.jpg", "right.jpg"], None, [0, 1]),
        (["left.jpg", "right.jpg"], "right", [1]),
        (["left.jpg", "right.jpg"], ".RIGHT.jpg", [1]),
        (["jpg", "png"], "png", [1]),
        (["jpg"], "png", []),
        (["seg2.png", "jpg"], None, [1]),
        (["01.jpg", "01.png", "02.jpg"], "jpg", [0, 2]),
    ],
)
def test_which_images_of_a_key_are_samples(
    kinds: list[str], asked: str | None, positions: list[int]
) -> None:
    assert chosen_kinds(kinds, asked) == positions


def test_labels_of_kinds(tmp_path: Path, make_png: Png) -> None:
    a, b = make_png(0), make_png(1)
    files = [("0.left.png", a), ("0.left.cls", b"7"), ("0.right.png", b), ("0.cls", b"3")]
    files += [("1.json", b'{"Label": "x", "label_id": 3}'), ("1.png", a)]
    files += [("2.cls", b"[5]"), ("2.png", b), ("3.cls", b"[5, 6]"), ("3.png", b)]
    path = tar(tmp_path / "x.tar", files)
    assert [s.label for s in samples(path)] == [7, 3, "x", 5, None]
    assert [s.label for s in samples(path, labels="label_id")] == [None, None, 3, None, None]
    assert {s.label for s in samples(path, labels="none")} == {None}


def test_many_images_of_a_key_do_not_gather_in_memory(tmp_path: Path, make_png: Png) -> None:
    names = [["alice", "bob", "carol", "dave", "eve"][n % 5] + "x" * (n // 5) for n in range(60)]
    path = tar(tmp_path / "x.tar", [(f"photo.{name}.png", make_png(0)) for name in names])
    assert [s.path for s in samples(path)] == [f"x.tar/photo.{name}.png" for name in names]


def test_a_sparse_member_is_read_in_full(tmp_path: Path) -> None:
    image = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (300, 400)).save(image, "BMP")
    data = image.getvalue()
    with open(tmp_path / "0.bmp", "wb") as file:
        file.write(data[:54])
        file.truncate(len(data))
    for form in ("gnu", "posix"):
        command = ["tar", "-S", f"--format={form}", "-cf", f"{form}.tar", "0.bmp"]
        subprocess.run(command, cwd=tmp_path, check=True)
        (sample,) = samples(tmp_path / f"{form}.tar")
        assert sample.data == data
        assert not np.asarray(verify(sample.data)).any()


def test_damage_between_members_is_said(tmp_path: Path, make_png: Png) -> None:
    path = tar(tmp_path / "x.tar", [(f"{n}.png", make_png(n)) for n in range(3)])
    content = bytearray(path.read_bytes())
    second = content.index(b"1.png\x00")
    content[second : second + 20] = b"?" * 20
    path.write_bytes(bytes(content))
    names = []
    with pytest.raises(Damaged):
        names.extend(member.name for member in members(Place.of(path)))
    found = samples(path)
    assert [s.path for s in found] == ["x.tar/0.png", "x.tar/2.png", "x.tar"]
    assert found[-1].reason == "the archive is damaged: bytes between its members are no member"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_that_are_cut_off(tmp_path: Path, make_png: Png, mode: str) -> None:
    files = [(f"{n}.png", make_png(n, (64, 64))) for n in range(8)]
    path = tar(tmp_path / "x.tar", files, mode)
    whole = path.read_bytes()
    ends = [len(whole) * part // 10 for part in range(10)]
    for end in ends:
        path.write_bytes(whole[:end])
        found = samples(path)
        good = [s for s in found if s.data is not None]
        assert [s.data for s in good] == [data for _, data in files[: len(good)]]
        assert found[len(good) :] or len(good) == len(files)
    path.write_bytes(b"")
    with pytest.raises(BROKEN):
        list(members(Place.of(path)))


def test_a_kind_that_no_key_has(tmp_path: Path, make_png: Png) -> None:
    path = tar(tmp_path / "x.tar", [("0.left.png", make_png(0)), ("0.right.png", make_png(1))])
    with pytest.raises(DataError, match=r"has no images \.up; choose one of left.png, right.png"):
        samples(path, column="up")


def test_parts_within_archives_are_not_mixed(tmp_path: Path, make_png: Png) -> None:
    files = [("d/train/a.1.png", make_png(0)), ("d/val/b.png", make_png(1)), ("c.png", make_png(2))]
    path = tar(tmp_path / "x.tgz", files, "w:gz")
    source = open_source(path)
    assert source.parts() == {"train": ["d/train", ""], "val": ["d/val"]}
    assert [s.path for s in samples(path)] == ["x.tgz/d/train/a.1.png", "x.tgz/c.png"]
    assert [s.path for s in samples(path, split="val")] == ["x.tgz/d/val/b.png"]
    assert len(samples(path, split="all")) == 3


def test_late_members_of_another_part_are_left_out(tmp_path: Path, make_png: Png) -> None:
    image = make_png(0)
    files = [(f"images/{n:03d}.png", image) for n in range(510)]
    path = tar(tmp_path / "x.tar", [*files, ("test/0.png", image), ("train/1.png", image)])
    assert [sample.path for sample in samples(path)[510:]] == ["x.tar/train/1.png"]
    assert len(samples(path, split="all")) == 512
    assert [sample.path for sample in samples(path, split="test")] == ["x.tar/test/0.png"]


@pytest.mark.parametrize("is_apart", [False, True])
@pytest.mark.parametrize("count", [10, 40])
def test_many_images_of_one_key_keep_their_labels(
    tmp_path: Path, make_png: Png, count: int, is_apart: bool
) -> None:
    images = [(f"img.{n:04d}.png", make_png(n % 5)) for n in range(count)]
    labels = [(f"img.{n:04d}.cls", str(n).encode()) for n in range(count)]
    pairs = [member for pair in zip(images, labels, strict=True) for member in pair]
    found = samples(tar(tmp_path / "x.tar", [*images, *labels] if is_apart else pairs))
    assert [sample.label for sample in found] == list(range(count))


def test_many_masks_are_no_rows(tmp_path: Path, make_png: Png) -> None:
    masks = [(f"1.mask{n}.png", make_png(1)) for n in range(100)]
    found = samples(tar(tmp_path / "x.tar", [("1.jpg", make_png(0)), *masks, ("1.cls", b"4")]))
    assert [(sample.path, sample.label) for sample in found] == [("x.tar/1.jpg", 4)]


@pytest.mark.parametrize(
    ("names", "is_held"),
    [
        (["0.png", "d/1.png"], False),
        (["0.png", "0.CLS"], True),
        (["0.png", "x.left.cls"], True),
        ([f"{'long/' * 40}0.png"], True),  # not sure
    ],
)
def test_an_archive_without_labels_is_known_by_its_headers(
    tmp_path: Path, names: list[str], is_held: bool
) -> None:
    path = tar(tmp_path / "x.tar", [(name, b"x" * 700) for name in names])
    assert may_hold(Place(str(path)), ("cls",)) is is_held
    assert may_hold(Place(str(tar(tmp_path / "x.tgz", [("0.png", b"")], "w:gz"))), ("cls",))
