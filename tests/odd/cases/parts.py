"""Datasets in parts: train and test, images and masks, and classes that are called alike."""

from __future__ import annotations

from odd.case import CLASSES, Case, colour_of, images, with_files

SPLIT = (
    "train/cat/1.png",
    "train/dog/1.png",
    "train/dog/2.png",
    "test/cat/9.png",
    "test/dog/9.png",
)
TWO = {"rows": 4, "labels": [0, 0, 1, 1], "classes": ["cat", "dog"]}
TRAINED = {"rows": 3, "labels": [0, 1, 1], "classes": ["cat", "dog"]}


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


CASES = [
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
    Case(
        "folders/kaggle",
        with_files("train.csv", images=("train/1.png", "train/2.png", "test/3.png")),
        rows=2,
        labels=None,
        notes=("read train, left out test", "train.csv may hold labels"),
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
]
