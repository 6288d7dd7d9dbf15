"""What an ingest has understood of its source: rows, classes, parts, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from manta.data.labels import Numbering, declared_classes, number_classes, told_apart
from manta.data.sources import Source
from manta.errors import DataError
from manta.modalities import noun_of

MOST_CLASSES = 10_000
"""Classes whose rows a manifest lists."""
_SHOWN_CLASSES, _SHOWN_REASONS, _SHOWN_GROUPS = 6, 4, 3
_MOST_ENTRIES = 5
"""Names that a part lists: a manifest goes to each task, and there may be thousands of files."""


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a source holds, as it was read.

    Attributes:
        rows: samples that can be read.
        labelled_rows: those of them that have a label.
        class_count: number of classes.
        classes: rows by the name of their class, for the first `MOST_CLASSES` classes.
        parts: names of what belongs to each part of the dataset, by part; of many, the first few.
        split: part that was read; None: all there is.
        set_aside: number of bad images by reason.
        notes: what the source and the labels gave to say.
        group_count: number of groups.
        groups: rows of the largest groups, by name.
        grouped_rows: rows that belong to a group.
        modality: of the rows.
    """

    rows: int
    labelled_rows: int = 0
    class_count: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    split: str | None = None
    set_aside: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    group_count: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    grouped_rows: int = 0
    modality: str = "image"

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a manifest; of data without groups that of earlier versions."""
        content = asdict(self)
        del content["modality"]  # which the manifest has
        if not self.group_count:
            for name in ("group_count", "groups", "grouped_rows"):
                del content[name]
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Understanding:
        """Return what a manifest holds; what a later version has added to it is left out."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def lines(self) -> list[str]:
        """Return a few lines for people."""
        lines = [f"{self.rows:,} {noun_of(self.modality).plural}, {self._labels()}"]
        if len(self.parts) > 1:
            lines.append(self._parts())
        if self.group_count:
            lines.append(self._groups())
        lines += self.notes
        if self.set_aside:
            total = sum(self.set_aside.values())
            ranked = Counter(self.set_aside).most_common(_SHOWN_REASONS)
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in ranked)
            more = ", ..." if len(self.set_aside) > len(ranked) else ""
            lines.append(f"{total:,} set aside: {reasons}{more}")
        return lines

    def _labels(self) -> str:
        if not self.class_count:
            return "no labels"
        shown = list(self.classes.items())[:_SHOWN_CLASSES]
        names = ", ".join(f"{' '.join(name.split())} {rows:,}" for name, rows in shown)
        more = ", ..." if self.class_count > len(shown) else ""
        plural = "class" if self.class_count == 1 else "classes"
        text = f"{self.class_count:,} {plural} ({names}{more})"
        if self.labelled_rows < self.rows:
            text += f", labels on {self.labelled_rows:,} of them"
        return text

    def _groups(self) -> str:
        named = [f"{' '.join(name.split())} {rows:,}" for name, rows in self.groups.items()]
        more = ", ..." if self.group_count > len(named) else ""
        text = f"{self.group_count:,} group{'s'[: self.group_count - 1]} ({', '.join(named)}{more})"
        alone = self.rows - self.grouped_rows
        rows = "1 row of none: it stands alone"
        if alone > 1:
            rows = f"{alone:,} rows of none: each stands alone"
        return f"{text}, {rows}" if alone else text

    def _parts(self) -> str:
        if self.split is None:
            return f"parts {', '.join(self.parts)} read as one"
        others = [part for part in self.parts if part != self.split]
        return f"read {self.split}, left out {', '.join(others)}: data.split chooses"


def understand(
    source: Source,
    rows: int,
    labels: Numbering,
    names: list[str] | None,
    bad: dict[str, int],
    groups: Mapping[str, int] | None = None,
    modality: str = "image",
) -> Understanding:
    """Return what was understood of a source whose rows have been read.

    Args:
        names: of the classes, by number.
        bad: number of bad images by reason.
        groups: rows by group.
    """
    groups = groups or {}
    largest = sorted(groups.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_GROUPS]
    by_name = dict(zip(told_apart(names), labels.rows, strict=True)) if names else {}
    notes = [*source.notes(), *([labels.note] if labels.note else [])]
    return Understanding(
        rows=rows,
        labelled_rows=sum(labels.rows),
        class_count=len(by_name),
        classes=dict(list(by_name.items())[:MOST_CLASSES]),
        parts={part: _few(entries) for part, entries in source.parts().items()},
        split=source.chosen_part(),
        set_aside=bad,
        notes=notes,
        group_count=len(groups),
        groups=dict(largest),
        grouped_rows=sum(groups.values()),
        modality=modality,
    )


def classes_of(source: Source, counts: Counter[str]) -> tuple[Numbering, list[str] | None]:
    """Return the numbering of the labels that were found, and the names of the classes."""
    declared = source.classes()
    if declared is None:
        numbering = number_classes(counts)
        return numbering, numbering.values
    numbering = declared_classes(declared, counts)
    return numbering, declared if sum(numbering.rows) else None


def _few(entries: list[str]) -> list[str]:
    if len(entries) <= _MOST_ENTRIES:
        return entries
    return [*entries[: _MOST_ENTRIES - 1], f"and {len(entries) - _MOST_ENTRIES + 1:,} more"]


def by_reason(reasons: Iterable[str]) -> Counter[str]:
    """Return how often each reason occurs, without the details behind its colon."""
    return Counter(reason.partition(":")[0] for reason in reasons)


def refuse_empty(
    source: Source,
    rows: int,
    reasons: Mapping[str, int],
    example: Sequence[str] | None,
    modality: str = "image",
) -> None:
    """Check that a source has a sample.

    Raises:
        DataError: none of its files can be read.
    """
    if rows == 0:
        shown = f", as in {example[0]}: {example[1]}" if example else ""
        for reason, count in Counter(reasons).most_common(1):
            shown += f"; {count} of them: {reason}" if reason not in shown else ""
        raise DataError(
            f"none of the {sum(reasons.values())} files of {source.place.url} is "
            f"{noun_of(modality).with_article} that can be read{shown}"
        )
