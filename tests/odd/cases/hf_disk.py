"""Folders as `datasets.save_to_disk` writes them, and other Arrow files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather

from odd.case import Case, colour_of, encoded

COLOURS = [colour_of(number) for number in range(6)]
IMAGES = [encoded(colour) for colour in COLOURS]
NAMES = {"names": ["cat", "dog"], "_type": "ClassLabel"}
FEATURES = {"image": {"_type": "Image"}, "label": NAMES}


def rows(*numbers: int) -> pa.Table:
    """Return a table as the library stores it: structs of images, and positions of names."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": IMAGES[number], "path": None} for number in numbers]
    labels = pa.array([number % 2 for number in numbers], pa.int64())
    table = pa.table({"image": pa.array(images, kind), "label": labels})
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return table.replace_schema_metadata(metadata)


def stream(path: Path, table: pa.Table, batch: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def saved(folder: Path, *shards: pa.Table, split: str | None = None, **state: Any) -> Path:
    """Write what `Dataset.save_to_disk` writes for these shards; return the folder."""
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        stream(folder / name, shard)
    content = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "0123456789abcdef",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    info = {"citation": "", "description": "", "features": FEATURES, "homepage": "", "license": ""}
    (folder / "state.json").write_text(json.dumps(content | state, indent=2, sort_keys=True))
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2, sort_keys=True))
    return folder


def dictionary(folder: Path, **splits: pa.Table) -> Path:
    """Write what `DatasetDict.save_to_disk` writes; return the folder."""
    for name, table in splits.items():
        saved(folder / name, table, split=name)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def without_metadata(folder: Path) -> Path:
    return saved(folder, rows(0, 1).replace_schema_metadata(None))


def old_form(folder: Path) -> Path:
    saved(folder, rows(0, 1, 2))
    (folder / "data-00000-of-00001.arrow").rename(folder / "dataset.arrow")
    files = [{"filename": "dataset.arrow"}]
    state = {"_data_files": files, "_indices_data_files": [], "_indexes": {}, "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def with_cache(folder: Path) -> Path:
    saved(folder, rows(0, 1))
    stream(folder / "cache-8f3a.arrow", rows(4, 5))
    return folder


def missing_shard(folder: Path) -> Path:
    saved(folder, rows(0, 1), rows(2))
    (folder / "data-00001-of-00002.arrow").unlink()
    return folder


def no_state(folder: Path) -> Path:
    dictionary(folder, train=rows(0))
    (folder / "train" / "state.json").unlink()
    return folder


def broken_state(folder: Path) -> Path:
    saved(folder, rows(0))
    (folder / "state.json").write_text('{"_data_files": [')
    return folder


def cut_off(folder: Path) -> Path:
    saved(folder, rows(*range(6)))
    path = folder / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:-300])
    return folder


def cache_folder(folder: Path) -> Path:
    inner = folder / "default" / "1.0.0"
    for number, part in enumerate(["train", "test"]):
        stream(inner / f"beans-{part}.arrow", rows(number))
    (inner / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def random_access(folder: Path) -> Path:
    table = rows(0, 1, 2)
    path = folder / "x.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


def feather(folder: Path) -> Path:
    pyarrow.feather.write_feather(pa.table({"image": IMAGES[:3]}), str(folder / "x.feather"))
    return folder / "x.feather"


def named(make: Callable[[Path], Path], location: str) -> Callable[[Path], Path]:
    return lambda folder: make(folder) / location


def case(name: str, make: Callable[[Path], Path], **expected: Any) -> Case:
    return Case(name=f"hf_disk/{name}", make=make, **expected)


CASES: list[Case] = [
    case(
        "dataset",
        lambda folder: saved(folder, rows(0, 1, 2), rows(3)),
        rows=4,
        labels=[0, 1, 0, 1],
        classes=["cat", "dog"],
        pixels={0: COLOURS[0], 3: COLOURS[3]},
    ),
    case(
        "dict_reads_train",
        lambda folder: dictionary(folder, train=rows(0, 1), test=rows(2)),
        rows=2,
        pixels={1: COLOURS[1]},
        splits={"train": 2, "test": None},
    ),
    case(
        "dict_test",
        lambda folder: dictionary(folder, train=rows(0, 1), test=rows(2)),
        rows=1,
        labels=[0],
        pixels={0: COLOURS[2]},
        options={"split": "test"},
    ),
    case(
        "dict_validation",
        lambda folder: dictionary(folder, train=rows(0), validation=rows(1)),
        rows=1,
        pixels={0: COLOURS[1]},
        options={"split": "val"},
    ),
    case(
        "dict_all",
        lambda folder: dictionary(folder, train=rows(0, 1), test=rows(2)),
        rows=3,
        options={"split": "all"},
    ),
    case(
        "dict_of_other_names",
        lambda folder: dictionary(folder, north=rows(0, 1), south=rows(2)),
        rows=3,
    ),
    case(
        "one_of_a_dict",
        named(lambda folder: dictionary(folder, train=rows(0), test=rows(2)), "test"),
        rows=1,
        pixels={0: COLOURS[2]},
    ),
    case(
        "features_in_the_info_alone",
        without_metadata,
        rows=2,
        labels=[0, 1],
        classes=["cat", "dog"],
    ),
    case("old_form", old_form, rows=3, labels=[0, 1, 0]),
    case("cache_files_are_left", with_cache, rows=2, pixels={1: COLOURS[1]}),
    case("missing_shard", missing_shard, error="lacks the file data-00001-of-00002.arrow"),
    case("no_state", no_state, error="has no state.json; save the dataset again"),
    case("broken_state", broken_state, error="state.json cannot be read"),
    case(
        "selection_beside_data",
        lambda folder: saved(folder, rows(0), _indices_data_files=[{"filename": "indices.arrow"}]),
        error="save flatten_indices() of it",
    ),
    case(
        "cut_off",
        cut_off,
        rows=4,
        quarantined={"data-00000-of-00001.arrow#4": "broken from here"},
    ),
    case("cache_of_the_library", cache_folder, rows=1, pixels={0: COLOURS[0]}),
    case("arrow_file", random_access, rows=3, labels=[0, 1, 0], pixels={2: COLOURS[2]}),
    case("feather", feather, rows=3, labels=None, pixels={2: COLOURS[2]}),
    case(
        "empty_file",
        lambda folder: stream(folder / "x.arrow", rows()),
        error="has no rows",
    ),
]
