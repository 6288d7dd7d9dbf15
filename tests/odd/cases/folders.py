"""Folders as people have them: litter, parts, masks, links, odd trees."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from odd.case import Case, colour_of, encoded, tree, write

CLASSES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
SPLIT = (
    "train/cat/1.png",
    "train/dog/1.png",
    "train/dog/2.png",
    "test/cat/9.png",
    "test/dog/9.png",
)
TWO = {"rows": 4, "labels": [0, 0, 1, 1], "classes": ["cat", "dog"]}
TRAINED = {"rows": 3, "labels": [0, 1, 1], "classes": ["cat", "dog"]}


def with_files(*names: str, images: tuple[str, ...] = CLASSES):
    """Return a maker of class folders with other files beside or inside them."""

    def make(folder: Path) -> Path:
        tree(folder, *images)
        for name in names:
            write(folder / name, "name,label\n")
        return folder

    return make


def images(*names: str):
    """Return a maker of images at these paths."""
    return lambda folder: tree(folder, *names)


def as_parts(one: str, other: str) -> Case:
    names = (f"{one}/cat/1.png", f"{one}/dog/1.png", f"{other}/cat/1.png", f"{other}/dog/1.png")
    return Case(
        f"folders/parts_{one}_{other}",
        images(*names),
        rows=2,
        labels=[0, 1],
        classes=["cat", "dog"],
        splits={"train": 2},
        pixels={0: colour_of(0), 1: colour_of(1)},
        notes=("read train",),
    )


def empty_folders(folder: Path) -> Path:
    tree(folder, *CLASSES)
    (folder / "bird").mkdir()
    (folder / "empty").mkdir()
    return folder


def link_loop(folder: Path) -> Path:
    tree(folder, *CLASSES)
    os.symlink(folder, folder / "cat" / "all")
    return folder


def mutual_links(folder: Path) -> Path:
    tree(folder, "a/x/1.png", "b/y/1.png")
    os.symlink(folder / "b", folder / "a" / "x" / "to_b")
    os.symlink(folder / "a", folder / "b" / "y" / "to_a")
    return folder


def broken_link(folder: Path) -> Path:
    tree(folder, *CLASSES)
    os.symlink(folder / "nowhere.png", folder / "cat" / "3.png")
    return folder


def linked_class(folder: Path) -> Path:
    tree(folder / "elsewhere", "1.png", "2.png")
    (folder / "data").mkdir()
    tree(folder / "data", "cat/1.png")
    os.symlink(folder / "elsewhere", folder / "data" / "dog")
    return folder / "data"


def pipe(folder: Path) -> Path:
    tree(folder, *CLASSES)
    os.mkfifo(folder / "cat" / "3.png")
    return folder


def own_runs(name: str, folder: Path) -> Path:
    tree(folder, *CLASSES)
    tree(folder / name / "first", "plots/loss.png", "plots/knn.png")
    write(folder / name / "first" / "run.json", "{}")
    write(folder / name / "first" / "experiment.yaml", "{}")
    write(folder / name / "mlflow.db", "")
    return folder


def own_dataset(folder: Path) -> Path:
    tree(folder, *CLASSES)
    for name in ("manifest.json", "quarantine.parquet", "shard-00000.parquet"):
        write(folder / "made earlier" / name, "{}")
    return folder


def web_manifest(folder: Path) -> Path:
    tree(folder, *CLASSES)
    write(folder / "dog" / "manifest.json", "{}")
    return folder


def no_suffix(folder: Path) -> Path:
    tree(folder, "cat/1", "dog/1")
    write(folder / "loose", encoded(colour_of(2)))
    return folder


def only_folders(folder: Path) -> Path:
    (folder / "a" / "b").mkdir(parents=True)
    return folder


def deep(folder: Path) -> Path:
    return tree(folder, "/".join(["d"] * 40) + "/1.png")


def many_classes(folder: Path) -> Path:
    return tree(folder, *(f"class{number:03d}/1.png" for number in range(60)))


CASES = [
    Case("folders/classes", images(*CLASSES), **TWO, notes=("2 classes (cat 2, dog 2)",)),
    *(
        Case(f"folders/beside_{name}", with_files(name), **TWO, notes=("left out", name))
        for name in ("README.md", "Thumbs.db", "desktop.ini", "labels.csv", "LICENSE", "data.zip")
    ),
    *(
        Case(f"folders/inside_{name}", with_files(f"cat/{name}"), **TWO)
        for name in ("Thumbs.db", "desktop.ini", "._1.png", ".DS_Store")
    ),
    Case(
        "folders/text_inside",
        with_files("cat/notes.txt"),
        **TWO,
        quarantined={"cat/notes.txt": "not an image"},
        notes=("1 set aside",),
    ),
    *(
        Case(
            f"folders/litter_{name}",
            images(*CLASSES, f"{name}/cat/1.png"),
            **TWO,
            notes=("left out", name),
        )
        for name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
    ),
    Case("folders/hidden", images(*CLASSES, ".thumbs/1.png", ".cache/2.png"), **TWO),
    Case("folders/empty", empty_folders, **TWO, notes=("bird/, empty/",)),
    Case("folders/manta_runs", partial(own_runs, "manta-runs"), **TWO, notes=("manta-runs",)),
    Case("folders/runs_elsewhere", partial(own_runs, "out"), **TWO, notes=("out/",)),
    Case("folders/own_dataset", own_dataset, **TWO, notes=("made earlier",)),
    Case(
        "folders/a_manifest_of_something_else",
        web_manifest,
        **TWO,
        quarantined={"dog/manifest.json": "not an image"},
    ),
    *(
        as_parts(one, other)
        for one, other in (
            ("train", "test"),
            ("Training", "Testing"),
            ("train2017", "val2017"),
            ("train", "validation"),
            ("train_images", "test_images"),
            ("TRAIN", "VAL"),
            ("train-set", "dev"),
            ("train", "unlabeled"),
            ("trainset", "testset"),
        )
    ),
    Case(
        "folders/parts_flat",
        images("train/1.png", "train/2.png", "test/3.png"),
        rows=2,
        labels=None,
    ),
    Case("folders/test_chosen", images(*SPLIT), rows=2, labels=[0, 1], options={"split": "test"}),
    Case(
        "folders/parts_merged",
        images(*SPLIT),
        rows=5,
        labels=[0, 1, 1, 0, 1],
        options={"split": "all"},
        notes=("train, test read as one",),
    ),
    Case("folders/no_such_part", images(*SPLIT), error="no part 'val'", options={"split": "val"}),
    Case("folders/parts_without_train", images("test/1.png", "val/1.png"), error="no part 'train'"),
    Case("folders/no_parts_at_all", images(*CLASSES), error="no part", options={"split": "test"}),
    Case("folders/part_and_readme", with_files("README.md", images=SPLIT), **TRAINED),
    Case(
        "folders/part_among_others",
        images(*SPLIT, "sample/cat/1.png"),
        **TRAINED,
        notes=("sample/",),
    ),
    Case("folders/train_is_a_class", images("car/1.png", "train/1.png"), rows=2, labels=[0, 1]),
    Case("folders/one_class_of_train", images("train/1.png", "train/2.png"), rows=2, labels=None),
    Case(
        "folders/train_alone_with_classes",
        images("train/cat/1.png", "train/dog/1.png"),
        rows=2,
        labels=[0, 1],
    ),
    Case(
        "folders/masks",
        images("images/1.png", "images/2.png", "masks/1.png", "masks/2.png"),
        rows=2,
        labels=None,
        notes=("left out: masks/",),
    ),
    Case(
        "folders/yolo",
        with_files(
            "labels/train/1.txt",
            images=("images/train/1.png", "images/train/3.png", "images/val/2.png"),
        ),
        rows=2,
        labels=None,
        splits={"train": 2, "val": None},
    ),
    Case(
        "folders/voc",
        with_files(
            "Annotations/1.xml",
            images=("JPEGImages/1.png", "JPEGImages/2.png", "SegmentationClass/1.png"),
        ),
        rows=2,
        labels=None,
    ),
    Case("folders/zipped_twice", images(*(f"photos/{name}" for name in CLASSES)), **TWO),
    Case("folders/one_class", images("cat/1.png", "cat/2.png"), rows=2, labels=None),
    Case(
        "folders/images_beside_classes",
        images("cat/1.png", "dog/1.png", "loose.png"),
        rows=3,
        labels=None,
        notes=("beside the sub-folders",),
    ),
    Case(
        "folders/folders_said_to_be_classes",
        images("cat/2024/1.png", "cat/2025/1.png", "dog/1.png", "loose.png"),
        rows=3,
        labels=[0, 0, 1],
        options={"labels": "folders"},
    ),
    Case(
        "folders/labels_refused", images(*CLASSES), rows=4, labels=None, options={"labels": "none"}
    ),
    Case(
        "folders/kaggle",
        with_files("train.csv", images=("train/1.png", "train/2.png", "test/3.png")),
        rows=2,
        labels=None,
        notes=("read train, left out test", "train.csv may hold labels"),
    ),
    Case(
        "folders/metadata_beside_images",
        with_files("metadata.csv", images=("1.png", "2.png")),
        rows=2,
        quarantined={"metadata.csv": "not an image"},
        notes=("metadata.csv may hold labels",),
    ),
    Case(
        "folders/a_picture_beside_parts",
        images("sample.png", *SPLIT),
        **TRAINED,
        pixels={0: colour_of(1)},
        notes=("left out: sample.png", "read train, left out test"),
    ),
    *(
        Case(
            f"folders/alike_{one}_{other}",
            images(f"{one}/cat/1.png", f"{one}/dog/1.png", f"{other}/cat/1.png"),
            rows=2,
            labels=[0, 1],
            splits={"train": 2, "test": None},
        )
        for one, other in (
            ("seg_train", "seg_test"),
            ("DIV2K_train_HR", "DIV2K_test_HR"),
            ("bounding_box_train", "bounding_box_test"),
            ("trainA", "testA"),
            ("train", "holdout"),
            ("train", "evaluation"),
            ("flowersTrain", "flowersTest"),
        )
    ),
    *(
        Case(
            f"folders/classes_{one}_{other}",
            images(f"{one}/1.png", f"{other}/1.png"),
            labels=[0, 1],
        )
        for one, other in (
            ("test_tube", "train_station"),
            ("train-freight", "train-passenger"),
            ("extra large", "extra small"),
            ("train_1", "train_2"),
            ("beaker", "test_tube"),
            ("dev", "prod"),
            ("training shoes", "slippers"),
        )
    ),
    Case(
        "folders/ilsvrc",
        with_files(
            "Annotations/1.xml",
            "ImageSets/1.txt",
            images=(
                "Data/CLS-LOC/train/a/1.png",
                "Data/CLS-LOC/train/b/1.png",
                "Data/CLS-LOC/test/1.png",
            ),
        ),
        rows=2,
        labels=[0, 1],
        splits={"train": 2, "test": None},
    ),
    Case(
        "folders/cityscapes",
        images(
            "leftImg8bit/train/1.png",
            "leftImg8bit/train/2.png",
            "leftImg8bit/test/3.png",
            "gtFine/train/1.png",
        ),
        rows=2,
        labels=None,
        splits={"train": 2},
    ),
    Case(
        "folders/parts_inside_classes",
        images("cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/test/4.png"),
        rows=2,
        labels=[0, 1],
        classes=["cat", "dog"],
        splits={"train": 2, "test": None},
        pixels={0: colour_of(0), 1: colour_of(2)},
    ),
    Case(
        "folders/masks_beside_parts",
        images("train/1.png", "train/2.png", "train_masks/1.png", "test/3.png"),
        rows=2,
        labels=None,
        notes=("left out: train_masks/",),
    ),
    Case(
        "folders/masks_inside_parts",
        images(
            "train/images/1.png", "train/images/2.png", "train/masks/1.png", "test/images/3.png"
        ),
        rows=2,
        labels=None,
        splits={"train": 2},
    ),
    Case(
        "folders/roboflow",
        with_files(
            "train/labels/1.txt",
            "valid/labels/1.txt",
            "data.yaml",
            images=("train/images/1.png", "train/images/2.png", "valid/images/1.png"),
        ),
        rows=2,
        labels=None,
        splits={"train": 2, "val": None},
    ),
    Case(
        "folders/one_class_in_a_part",
        images("train/cat/1.png", "train/cat/2.png", "test/cat/1.png", "test/dog/1.png"),
        rows=2,
        labels=[0, 0],
        classes=["cat"],
    ),
    Case("folders/a_column", images(*CLASSES), error="data.column=x", options={"column": "x"}),
    Case(
        "folders/labels_of_a_column",
        images(*CLASSES),
        error="its labels can be 'folders'",
        options={"labels": "class"},
    ),
    Case("folders/nested", images("2024/may/1.png", "2025/1.png"), rows=2, labels=None),
    Case("folders/link_loop", link_loop, **TWO, quarantined={"cat/all": "cannot be entered"}),
    Case(
        "folders/links_to_each_other",
        mutual_links,
        labels=None,
        rows=4,
        quarantined={
            "a/x/to_b/y/to_a": "cannot be entered",
            "b/y/to_a/x/to_b": "cannot be entered",
        },
    ),
    Case("folders/broken_link", broken_link, **TWO, quarantined={"cat/3.png": "No such file"}),
    Case("folders/linked_class", linked_class, rows=3, labels=[0, 1, 1]),
    Case("folders/pipe", pipe, **TWO, quarantined={"cat/3.png": "a pipe, socket or device"}),
    Case("folders/images_without_suffix", no_suffix, rows=3, labels=None),
    Case("folders/nothing", lambda folder: folder, error="holds no file"),
    Case(
        "folders/only_folders",
        lambda f: ((f / "a" / "b").mkdir(parents=True), f)[1],
        error="no file",
    ),
    Case("folders/only_text", lambda f: write(f / "a.md", "x").parent, error="none of the 1 files"),
    Case("folders/missing", lambda folder: folder / "nothing", error="nothing at"),
    Case("folders/forty_deep", deep, error="deeper than 32"),
    Case("folders/sixty_classes", many_classes, rows=60, labels=list(range(60))),
    Case(
        "folders/numbers",
        images("0/1.png", "10/1.png", "2/1.png"),
        rows=3,
        classes=["0", "10", "2"],
    ),
    Case("folders/upper_case", images("cat/1.PNG", "dog/1.PNG"), rows=2, labels=[0, 1]),
    Case("folders/wrong_suffix", images("cat/1.jpg", "dog/1.gif"), rows=2, labels=[0, 1]),
    Case(
        "folders/spaces_and_cyrillic",
        images("big cat/1 (2).png", "собака/1#2.png"),
        rows=2,
        classes=["big cat", "собака"],
    ),
]
