"""Held-out images in layouts as people download them: never read without a line that says so."""

from __future__ import annotations

from pathlib import Path

from odd.case import CLASSES, Case, colour_of, images, tree, with_files, write

LABELLED = {"rows": 2, "labels": [0, 1]}


def in_words(train: str, *others: str) -> Case:
    """Return the case of parts with these names, in other languages or with numbers."""
    names = [f"{folder}/{kind}/1.png" for folder in (train, *others) for kind in ("a", "b")]
    return Case(
        f"held_out/words_{train}_{'_'.join(others)}".replace(" ", "-"),
        images(*names),
        **LABELLED,
        classes=["a", "b"],
        splits={"train": 2},
        pixels={0: colour_of(0), 1: colour_of(1)},
    )


def listed(name: str, *files: str, data: tuple[str, ...], said: str) -> Case:
    """Return the case of images whose test part only a list beside them tells."""
    return Case(
        f"held_out/list_{name}",
        with_files(*files, images=data),
        notes=(f"{said} may name a test part, which is read too",),
    )


WORDS = [
    in_words(*names)
    for names in (
        ("Training", "Testdaten"),
        ("Trainingsdaten", "Validierung", "Testdaten"),
        ("entrainement", "validation", "test"),
        ("entraînement", "essai"),
        ("entrenamiento", "prueba", "validacion"),
        ("addestramento", "test"),
        ("treino", "teste"),
        ("训练集", "测试集"),
        ("01_train", "02_val", "03_test"),
        ("trainval", "test"),
        ("train+val", "test"),
        ("train", "PublicTest", "PrivateTest"),
        ("Training", "Final_Test"),
    )
]

DEEP = [
    Case(
        "held_out/doubled_folders",
        images(
            "training_set/training_set/cats/1.jpg",
            "training_set/training_set/dogs/1.jpg",
            "test_set/test_set/cats/2.jpg",
        ),
        **LABELLED,
        classes=["cats", "dogs"],
        splits={"train": 2},
    ),
    Case(
        "held_out/doubled_without_classes",
        images("train/train/cat.0.jpg", "train/train/dog.0.jpg", "test1/test1/1.jpg"),
        rows=2,
        labels=None,
        splits={"train": 2},
    ),
    Case(
        "held_out/two_roots",
        images("new/new/train/a/1.png", "new/new/valid/a/1.png", "test/test/1.png"),
        rows=1,
        splits={"train": 1, "val": None, "test": None},
        pixels={0: colour_of(0)},
    ),
    Case(
        "held_out/not_in_the_first_class",
        images("a/1.png", "b/test/2.png", "b/train/1.png", "c/test/2.png", "c/train/1.png"),
        rows=3,
        labels=[0, 1, 2],
        classes=["a", "b", "c"],
        splits={"train": 3},
    ),
    Case(
        "held_out/two_deep",
        images(*(f"{month}/raw/{part}/1.png" for month in "ab" for part in ("train", "test"))),
        rows=2,
        splits={"train": 2},
        pixels={0: colour_of(0), 1: colour_of(2)},
    ),
    Case(
        "held_out/two_deep_test",
        images(*(f"{month}/raw/{part}/1.png" for month in "ab" for part in ("train", "test"))),
        rows=2,
        splits={"test": 2},
        pixels={0: colour_of(1), 1: colour_of(3)},
        options={"split": "test"},
    ),
    Case(
        "held_out/alone",
        images(*CLASSES, "test/1.png"),
        rows=5,
        labels=[0, 0, 1, 1, 2],
        notes=("read too: test/; data.split=train leaves them out",),
    ),
    Case(
        "held_out/alone_left_out",
        images(*CLASSES, "test/1.png"),
        rows=4,
        labels=[0, 0, 1, 1],
        classes=["cat", "dog"],
        options={"split": "train"},
    ),
    Case(
        "held_out/alone_chosen",
        images(*CLASSES, "test/1.png"),
        rows=1,
        labels=None,
        options={"split": "test"},
    ),
    Case(
        "held_out/alone_with_all",
        images(*CLASSES, "test/1.png"),
        rows=5,
        labels=[0, 0, 1, 1, 2],
        options={"split": "all"},
    ),
]

NAMES = [
    Case(
        f"held_out/names_{number}",
        images(*names),
        rows=len(names),
        notes=(f"images such as {names[0]} are read too",),
    )
    for number, names in enumerate(
        (
            ("a_test_1.png", "a_train_1.png", "b_train_1.png"),
            ("test_1.png", "train_1.png", "train_2.png"),
            ("cat/test_1.png", "cat/train_1.png", "dog/train_1.png"),
        )
    )
]

LISTS = [
    listed("food", "meta/test.txt", data=("images/pie/1.jpg",), said="meta/test.txt"),
    listed(
        "birds",
        "train_test_split.txt",
        data=("images/1.a/1.jpg", "images/2.b/1.jpg"),
        said="train_test_split.txt",
    ),
    listed(
        "pets",
        "annotations/test.txt",
        "annotations/trainval.txt",
        data=("images/a_1.jpg",),
        said="annotations/test.txt",
    ),
    listed("faces", "list_eval_partition.txt", data=("img/1.jpg",), said="list_eval_partition.txt"),
    listed("flowers", "setid.mat", data=("jpg/1.jpg", "jpg/2.jpg"), said="setid.mat"),
]


def list_of_the_training_images(folder: Path) -> Path:
    tree(folder, "images/pie/10.jpg", "images/pie/11.jpg")
    return write(folder / "meta" / "train.txt", "pie/10\n")


LISTS.append(Case("held_out/list_as_source", list_of_the_training_images, rows=1, labels=None))


def chosen_list(folder: Path) -> Path:
    """Write images of two parts, and one list that names all of them."""
    names = [f"{part}/{kind}/1.png" for part in ("train", "test") for kind in ("a", "b")]
    images(*names)(folder)
    rows = [f"{name},{name.split('/')[1]}" for name in names]
    path = folder / "all.csv"
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    return path


CHOSEN = [
    Case(
        "held_out/chosen_list_names_both",
        chosen_list,
        rows=4,
        labels=[0, 1, 0, 1],
        notes=("read too, since the list names it: test/; data.split=train leaves it out",),
    ),
    Case(
        "held_out/chosen_list_of_the_training_part",
        chosen_list,
        rows=2,
        labels=[0, 1],
        splits={"train": 2},
        options={"split": "train"},
    ),
]

CASES = WORDS + DEEP + NAMES + LISTS + CHOSEN
