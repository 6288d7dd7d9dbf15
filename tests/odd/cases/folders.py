"""Folders as people have them: litter, links, odd trees."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from odd.case import CLASSES, Case, colour_of, encoded, images, tree, with_files, write

TWO = {"rows": 4, "labels": [0, 0, 1, 1], "classes": ["cat", "dog"]}


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
        "folders/metadata_beside_images",
        with_files("metadata.csv", images=("1.png", "2.png")),
        rows=2,
        quarantined={"metadata.csv": "not an image"},
        notes=("metadata.csv may hold labels",),
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
