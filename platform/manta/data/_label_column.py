"""Column of labels in a table: as text while it is read, as integers where all of them are."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from manta.data.labels import whole_number


def count_labels(table: pa.Table) -> dict[str, int]:
    """Return how many rows of a table have each label."""
    counts = pa.compute.value_counts(table["label"].drop_null())
    return {str(one["values"]): int(one["counts"].as_py()) for one in counts}


def with_stored_labels(table: pa.Table, labels: dict[str, int]) -> pa.Table:
    """Return the rows with labels as they are stored: as integers where all of them are."""
    numbers = [whole_number(text) for text in labels]
    if any(number is None or not -(2**63) <= number < 2**63 for number in numbers):
        return table
    position = table.schema.get_field_index("label")
    return table.set_column(position, "label", table["label"].cast(pa.int64()))


def stored_values(values: list[str] | None, counts: Mapping[str, int]) -> list[str] | None:
    """Return the labels as they are stored by class number; None where they are these numbers."""
    if values is None:
        return None
    are_numbers = values == [str(number) for number in range(len(values))]
    return None if are_numbers and counts.keys() <= set(values) else values
