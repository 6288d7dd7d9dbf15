"""Columns of decoded rows and batches of any kind, dense and ragged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manta.leaves import Leaf, Packed, Stack, concatenated, most_bytes, size_in_bytes, take
from manta.ragged import Ragged, joined, moved, rows_of
from manta.spec import Spec

LAYOUT = {
    "wave": Leaf("float32", (None,), most=5),
    "points": Leaf("int64", (None, 2), most=4),
    "image": Leaf("uint8", (3, 2, 2)),
}
LENGTHS = (3, 0, 5, 1)


def row(number: int) -> dict[str, np.ndarray]:
    length = LENGTHS[number]
    return {
        "wave": np.arange(length, dtype=np.float32) + 10 * number,
        "points": np.full((min(length, 4), 2), number),
        "image": np.full((3, 2, 2), number, dtype=np.uint8),
    }


def stacked(*numbers: int) -> dict:
    stack = Stack(LAYOUT, len(numbers))
    for number in numbers:
        stack.add(row(number))
    return stack.columns()


def rows_in(columns: dict, name: str) -> list[list]:
    column = columns[name]
    if not isinstance(column, Packed):
        return [one.tolist() for one in column]
    borders = np.cumsum(column.lengths)[:-1]
    return [one.tolist() for one in np.split(column.values, borders)]


@pytest.mark.parametrize("name", LAYOUT)
@pytest.mark.parametrize("which", [slice(1, 3), slice(0, 0), [2, 0, 2], [1], slice(None)])
def test_rows_are_taken_whole_and_in_order(name: str, which: slice | list[int]) -> None:
    places = which if isinstance(which, slice) else np.array(which)
    numbers = np.arange(len(LENGTHS))[places]
    taken = take(stacked(0, 1, 2, 3), places)
    assert rows_in(taken, name)[: len(numbers)] == [row(n)[name].tolist() for n in numbers]


def test_concatenation_equals_stacking_all_rows() -> None:
    whole, parts = stacked(0, 1, 2, 3), [stacked(0, 1), stacked(), stacked(2, 3)]
    together = concatenated(LAYOUT, parts)
    assert {name: rows_in(together, name) for name in LAYOUT} == {
        name: rows_in(whole, name) for name in LAYOUT
    }
    assert size_in_bytes(together) == size_in_bytes(whole)
    assert most_bytes(LAYOUT) == 5 * 4 + 4 * 2 * 8 + 12


def test_only_the_first_axis_is_ragged_and_has_a_limit() -> None:
    with pytest.raises(ValueError, match="first axis"):
        Leaf("uint8", (3, None))
    with pytest.raises(ValueError, match="most"):
        Leaf("uint8", (None,))


def ragged(*lengths: int) -> Ragged:
    total = sum(lengths)
    return Ragged(torch.arange(2.0 * total).reshape(total, 2), torch.tensor(lengths))


def test_padding_marks_what_is_there() -> None:
    values, there = ragged(2, 0, 3).padded(fill=-1.0)
    assert values.shape == (3, 3, 2)
    assert there.sum(1).tolist() == [2, 0, 3]
    assert (values[~there] == -1).all()
    assert torch.equal(values[there], torch.arange(10.0).reshape(5, 2))


def test_ragged_rows_are_chosen_by_slices_positions_and_masks() -> None:
    data = ragged(2, 0, 3, 1)
    by_positions = data.rows(torch.tensor([2, 0]))
    assert by_positions.lengths.tolist() == [3, 2]
    assert torch.equal(by_positions.values, torch.cat([data.values[2:5], data.values[:2]]))
    assert torch.equal(data.rows(slice(2, 4)).values, data.values[2:])
    chosen = data.rows(torch.tensor([True, False, False, True]))
    assert torch.equal(chosen.values, data.values[[0, 1, 5]])


def test_joining_the_parts_of_data_gives_the_data() -> None:
    data = {"a": torch.arange(4.0), "b": ragged(2, 0, 3, 1)}
    whole = joined([rows_of(data, slice(0, 1)), rows_of(data, slice(1, 4))])
    assert torch.equal(whole["a"], data["a"])
    assert torch.equal(whole["b"].values, data["b"].values)
    assert torch.equal(whole["b"].lengths, data["b"].lengths)
    assert moved(data, "cpu")["b"].values.device.type == "cpu"


@pytest.mark.parametrize(
    "spec",
    [
        Spec.image(8),
        Spec("grid", 1, (64, 80)),
        Spec("sequence", 3, (50,)),
        Spec("sequence", 2, (None,)),
        Spec("ids", vocabulary=100, size=(None,)),
    ],
)
def test_a_spec_survives_its_description_and_gives_an_example(spec: Spec) -> None:
    assert Spec.from_description(spec.describe()) == spec
    example = spec.example(3)
    assert len(example) == 3
    if isinstance(example, Ragged):
        assert len(set(example.lengths.tolist())) > 1
    else:
        assert example.shape == (3, spec.channels, *spec.sides)


def test_an_old_description_is_of_images() -> None:
    assert Spec.from_description({"image_size": 32, "mean": [0, 0, 0]}) == Spec.image(32)
