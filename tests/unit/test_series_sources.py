"""Sources of series: .ts, CSV wide and long, NumPy, Parquet; what is wrong is quarantined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manta.data.sources import Sample, Source, SourceOptions, open_source
from manta.errors import DataError
from manta.modalities.series import SeriesConfig
from manta.modalities.series.packing import unpack

NAN = float("nan")
HEAD = "# a comment\n@problemName Toy\n@timeStamps false\n@univariate true\n"


def opened(place: Path | str, **data: Any) -> Source:
    return open_source(place, SourceOptions.of(SeriesConfig(source=str(place), **data)))


def samples(place: Path | str, **data: Any) -> list[Sample]:
    source = opened(place, **data)
    return [sample for unit in source.units() for sample in source.read(unit)]


def values(sample: Sample) -> Any:
    assert sample.data is not None, sample.reason
    return unpack(sample.data).values


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def ts(path: Path, rows: str, labels: str = "true a b") -> Path:
    return write(path, f"{HEAD}@classLabel {labels}\n@data\n{rows}")


def test_ts_is_recognised_without_being_told(tmp_path: Path) -> None:
    source = open_source(ts(tmp_path / "toy.ts", "1,2,3:a\n"))
    assert (source.kind, source.modality) == ("ts", "series")


@pytest.mark.parametrize("content", [b"G@\x11\x10\x00", b"export const x = 1;", b""])
def test_films_and_programs_of_the_same_ending_are_not(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ts").write_bytes(content)
    with pytest.raises(DataError, match="no known kind"):
        open_source(tmp_path / "x.ts")
    with pytest.raises(DataError, match="no known kind"):
        opened(tmp_path / "x.ts")


def test_ts_rows_have_labels_gaps_lengths_and_channels(tmp_path: Path) -> None:
    place = ts(tmp_path / "toy.ts", "1,?,3:a\n\n# no row\n4, 5.5 ,-6e1,NaN:b\n")
    first, second = samples(place)
    np.testing.assert_array_equal(values(first)[:, 0], [1, NAN, 3])
    np.testing.assert_array_equal(values(second)[:, 0], [4, 5.5, -60])
    assert (first.label, second.label) == ("a", "b")
    (both,) = samples(ts(tmp_path / "two.ts", "1,2:3,4:a\n"))
    np.testing.assert_array_equal(values(both), [[1, 3], [2, 4]])
    (bare,) = samples(ts(tmp_path / "bare.ts", "1,2:3,4\n", labels="false"))
    assert bare.label is None
    np.testing.assert_array_equal(values(bare), [[1, 3], [2, 4]])
    assert samples(place, labels="none")[0].label is None


def test_ts_values_may_come_with_times(tmp_path: Path) -> None:
    head = HEAD.replace("timeStamps false", "timeStamps true")
    text = f"{head}@classLabel true a\n@data\n(0,1.5),(1,2.5):(0,3),(1,4):a\n"
    (row,) = samples(write(tmp_path / "t.ts", text))
    np.testing.assert_array_equal(values(row), [[1.5, 3], [2.5, 4]])


def test_ts_rows_that_are_wrong_say_why(tmp_path: Path) -> None:
    rows = "1,2:3,4:a\n1,x:3,4:a\n1,2:3:a\n1,2:a\n:a\n"
    good, word, uneven, fewer, empty = samples(ts(tmp_path / "bad.ts", rows))
    assert good.reason is None
    assert word.reason == "holds 'x' where a number is expected"
    assert uneven.reason == "has channels of 1 to 2 values"
    assert fewer.reason == "has 1 channels, where the first row has 2"
    assert empty.data is None or len(values(empty)) == 0
    (headless,) = samples(write(tmp_path / "headless.ts", "@problemName x\n1,2:a\n"))
    assert headless.reason == "has no @data line"


def test_a_set_of_the_archive_is_named_by_its_stem_and_has_parts(tmp_path: Path) -> None:
    for name in ("Gun_TRAIN", "Gun_TEST", "Gun_eq_TRAIN", "Gun_eq_TEST", "Other_TRAIN"):
        ts(tmp_path / f"{name}.ts", "1,2,3:a\n" * (2 if "TRAIN" in name else 3))
    source = opened(tmp_path / "Gun")
    assert source.parts() == {"train": ["Gun_TRAIN.ts"], "test": ["Gun_TEST.ts"]}
    assert len(samples(tmp_path / "Gun")) == 2
    assert len(samples(tmp_path / "Gun", split="test")) == 3
    assert len(samples(tmp_path / "Gun", split="all")) == 5
    assert len(samples(tmp_path / "Gun_TEST.ts")) == 3
    with pytest.raises(DataError, match="nothing at"):
        opened(tmp_path / "Gunn")


def test_a_folder_of_several_sets_asks_for_one(tmp_path: Path) -> None:
    for name in ("A", "B"):
        write(tmp_path / f"{name}_TRAIN.ts", f"@problemName {name}\n@data\n1,2\n")
    with pytest.raises(DataError, match="holds several sets"):
        samples(tmp_path)


def test_recordings_are_cut_into_windows(tmp_path: Path) -> None:
    place = ts(tmp_path / "long.ts", ",".join(map(str, range(10))) + ":a\n1,2:b\n")
    got = samples(place, window=4, stride=3)
    assert [values(one)[:, 0].tolist() for one in got] == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 7, 8, 9],
        [1, 2],
    ]
    assert [one.label for one in got] == ["a", "a", "a", "b"]
    assert [one.path for one in got][:2] == ["long.ts#0@0", "long.ts#0@3"]
    assert len(samples(place, window=4)) == 3


def test_wide_csv_finds_its_labels(tmp_path: Path) -> None:
    rows = [f"{1 + n % 2},{n + 0.5},{n * 1.25 + 0.1},{n - 0.7}" for n in range(8)]
    first = write(tmp_path / "first.csv", "\n".join(rows))
    assert [one.label for one in samples(first)][:2] == ["1", "2"]
    assert values(samples(first)[0]).shape == (3, 1)
    turned = [",".join([*row.split(",")[1:], row.split(",")[0]]) for row in rows]
    last = write(tmp_path / "last.tsv", "\n".join(turned).replace(",", "\t"))
    assert [one.label for one in samples(last)][:2] == ["1", "2"]
    named = write(
        tmp_path / "named.csv",
        "v1,v2,target,v3\n" + "\n".join(f"{n}.5,{n},cat,{n}" for n in range(4)),
    )
    (got, *_) = samples(named)
    assert got.label == "cat"
    assert values(got)[:, 0].tolist() == [0.5, 0, 0]
    assert samples(first, labels="none")[0].label is None
    assert values(samples(first, labels="none")[0]).shape == (4, 1)
    assert samples(last, labels="last")[1].label == "2"
    assert opened(first).notes() == ["labels: column the first"]


def test_wide_csv_keeps_unequal_rows_and_quarantines_wrong_ones(tmp_path: Path) -> None:
    text = "label,a,b,c\nx,1,2,3\ny,1,,\nz,1,oops,3\nw,1,2,3,4\nv,,,\n"
    good, short, wrong, longer, nothing = samples(write(tmp_path / "r.csv", text))
    assert values(good)[:, 0].tolist() == [1, 2, 3]
    assert values(short)[:, 0].tolist() == [1]
    assert wrong.reason == "holds 'oops' where a number is expected"
    assert longer.reason == "has 5 cells, and the header 4"
    assert len(values(nothing)) == 0


def long_csv(path: Path, header: str = "subject,time,x,y,label") -> Path:
    rows = [
        f"{who},{t},{t + 0.5},{-t},{'walk' if t < 4 else 'run'}"
        for t in (2, 0, 1, 3, 4, 5)
        for who in ("ann", "bob")
    ]
    return write(path, header + "\n" + "\n".join(rows))


def test_long_csv_is_cut_by_recording_and_sorted_by_time(tmp_path: Path) -> None:
    place = long_csv(tmp_path / "long.csv")
    whole = samples(place)
    assert [one.group for one in whole] == ["ann", "bob"]
    assert values(whole[0])[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert values(whole[0])[:, 1].tolist() == [0, -1, -2, -3, -4, -5]
    assert whole[0].data is not None
    assert unpack(whole[0].data).names == ("x", "y")
    cut = samples(place, window=2)
    assert [one.label for one in cut] == ["walk", "walk", "run"] * 2
    assert [one.group for one in cut] == ["ann"] * 3 + ["bob"] * 3
    only = samples(place, column="y")
    assert values(only[0]).shape == (6, 1)
    assert "channels: x, y" in opened(place).notes()


def test_columns_of_long_csv_can_be_named(tmp_path: Path) -> None:
    place = long_csv(tmp_path / "odd.csv", "who,tick,x,y,act")
    got = samples(place, time="tick", id="who", labels="act", group="who", window=3)
    assert [one.label for one in got][:2] == ["walk", "run"]
    with pytest.raises(DataError, match=r"data\.time: .* has no column 'tock'"):
        opened(place, time="tock").notes()


def test_one_recording_wants_windows(tmp_path: Path) -> None:
    text = "date,a,b\n" + "\n".join(f"2020-01-{day:02},{day},{day}.5" for day in range(1, 11))
    place = write(tmp_path / "one.csv", text)
    (whole,) = samples(place)
    assert whole.reason == "is one recording; set data.window to the values that make a row"
    got = samples(place, window=5)
    assert [values(one).shape for one in got] == [(5, 2), (5, 2)]
    assert got[0].group is None


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_csv_says_so(tmp_path: Path, text: str) -> None:
    (got,) = samples(write(tmp_path / "e.csv", text))
    assert got.reason is not None
    assert "is empty" in got.reason


def test_csv_stays_a_list_of_images_unless_series_are_asked_for(tmp_path: Path) -> None:
    place = write(tmp_path / "list.csv", "path,label\na.png,x\n")
    assert open_source(place).kind == "filelist"
    assert opened(place).kind == "series_csv"


def test_numpy_archives_have_parts_and_labels(tmp_path: Path) -> None:
    x, y = np.arange(24.0).reshape(4, 2, 3), np.array(["a", "b", "a", "b"])
    np.savez(tmp_path / "d.npz", X_train=x, y_train=y, X_test=x[:1], y_test=y[:1])
    place = tmp_path / "d.npz"
    assert set(opened(place).parts()) == {"train", "test"}
    train = samples(place)
    assert [one.label for one in train] == ["a", "b", "a", "b"]
    np.testing.assert_array_equal(values(train[0]), x[0].T)
    assert len(samples(place, split="test")) == 1
    assert samples(place, labels="none")[0].label is None


def test_numpy_files_take_time_as_the_longer_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.zeros((3, 7, 2), dtype=np.float32))
    np.save(tmp_path / "y.npy", np.array([1, 0, 1]))
    got = samples(tmp_path / "X.npy")
    assert [one.label for one in got] == [1, 0, 1]
    assert values(got[0]).shape == (7, 2)
    np.save(tmp_path / "flat.npy", np.zeros((3, 7)))
    assert values(samples(tmp_path / "flat.npy")[0]).shape == (7, 1)
    assert len(samples(tmp_path / "flat.npy", window=3)) == 6


def test_numpy_pickles_and_broken_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([[1], [2, 3]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects, which are not loaded"):
        samples(tmp_path / "o.npy")
    (tmp_path / "b.npz").write_bytes(b"PK no")
    with pytest.raises(DataError, match="cannot be read"):
        samples(tmp_path / "b.npz")
    np.savez(tmp_path / "z.npz", nothing=np.zeros(3))
    with pytest.raises(DataError, match="no array of series"):
        samples(tmp_path / "z.npz")
    (recording,) = samples(tmp_path / "z.npz", column="nothing")
    assert recording.path == "z.npz:nothing#0"


def test_parquet_has_lists_by_channel(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": [[1.0, 2.0], [3.0], [4.0, None], None, [1.0, 2.0]],
            "y": pa.array([[5, 6], [7], [8, 9], [1], [1]], pa.list_(pa.int32())),
            "label": ["a", "b", "c", "d", "e"],
            "who": ["p", "q", "p", "q", "p"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    first, short, gap, null, uneven = samples(tmp_path / "t.parquet", group="who")
    np.testing.assert_array_equal(values(first), [[1, 5], [2, 6]])
    assert first.data is not None
    assert unpack(first.data).names == ("x", "y")
    assert (first.label, first.group, values(short).shape) == ("a", "p", (1, 2))
    np.testing.assert_array_equal(values(gap)[1], [NAN, 9])
    assert null.reason == "has no value"
    assert uneven.reason == "has channels of 1 to 2 values"
    assert values(samples(tmp_path / "t.parquet", column="y")[0]).shape == (2, 1)


def test_parquet_cells_may_hold_all_channels(tmp_path: Path) -> None:
    cells = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 2.0], [4.0]], [[1.0], [2.0], [3.0]]]
    pq.write_table(pa.table({"series": cells}), tmp_path / "t.parquet")
    first, uneven, other = samples(tmp_path / "t.parquet")
    np.testing.assert_array_equal(values(first), [[1, 4], [2, 5], [3, 6]])
    assert uneven.reason == "its lists are not numbers of equal lengths"
    assert other.reason == "has 1 channels, where the first row has 2"
    pq.write_table(pa.table({"a": [1]}), tmp_path / "n.parquet")
    with pytest.raises(DataError, match="no column of lists of numbers"):
        samples(tmp_path / "n.parquet")


def test_settings_of_sources_are_part_of_an_ingest() -> None:
    bare = SourceOptions.of(SeriesConfig(source="x"))
    cut = SourceOptions.of(SeriesConfig(source="x", window=8, time="t"))
    assert "settings" not in bare.to_json()
    assert cut.to_json()["settings"] == [["window", 8], ["time", "t"]]
    assert "modality" not in bare.to_json()
    assert (bare.modality, cut.settings) == ("series", (("window", 8), ("time", "t")))


def test_a_dataset_of_images_keeps_its_name_whoever_asks(tmp_path: Path) -> None:
    from manta.data import prepared
    from manta.modalities.image import ImageConfig

    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "a.png").write_bytes(b"\x89PNG")
    bare = prepared(tmp_path / "photos", tmp_path)
    options = SourceOptions.of(ImageConfig(source="photos"))
    assert prepared(tmp_path / "photos", tmp_path, options=options) == bare
    series = ts(tmp_path / "toy.ts", "1,2,3:a\n")
    options = SourceOptions.of(SeriesConfig(source="toy"))
    assert prepared(series, tmp_path) == prepared(series, tmp_path, options=options)
