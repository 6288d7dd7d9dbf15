"""Numbers of an evaluation: trained beside untrained, with intervals and their difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from manta.evaluators import (
    BESIDE,
    FLOOR,
    UNTRAINED,
    Kind,
    Metric,
    describe_evaluator,
    describe_metric,
)
from manta.modalities import IMAGES, Noun, noun_of
from manta.report.parts import words as words
from manta.report.parts.facts import Fact
from manta.secrets import without_secrets

Interval = tuple[float, float]
Effect = Literal["better", "worse", "open", ""]
_FEW = 6
"""Numbers of a kind that are shown without folding."""


@dataclass(frozen=True, slots=True)
class Number:
    """Metric's value, the untrained encoder's and the floor's, with 95% intervals where known.

    Attributes:
        value: NaN where it could not be had.
        untrained: None where there is no untrained encoder.
        noun: what the samples that were scored are called.
        floor: of features that nothing has learned; None where there is none.
    """

    name: str
    value: float
    untrained: float | None = None
    interval: Interval | None = None
    untrained_interval: Interval | None = None
    noun: Noun = IMAGES
    floor: float | None = None
    floor_interval: Interval | None = None

    @property
    def meaning(self) -> Metric:
        """The metric's declaration, in words of the samples."""
        about, said = describe_metric(self.name).about, self.noun.said
        if self.noun == IMAGES:
            return about
        return replace(
            about, title=said(about.title), note=said(about.note), short=said(about.short)
        )

    @property
    def finite(self) -> bool:
        """Whether the value could be had."""
        return math.isfinite(self.value)

    @property
    def effect(self) -> Effect:
        """Whether training made it better or worse: only where both intervals are known and apart.

        "open" where they overlap; empty where nothing can be said.
        """
        mine, other, better = self.interval, self.untrained_interval, self.meaning.better
        if mine is None or other is None or self.untrained is None:
            return ""
        if better not in ("higher", "lower"):
            return ""
        if not (self.finite and math.isfinite(self.untrained)):
            return ""
        if mine[0] <= other[1] and other[0] <= mine[1]:
            return "open"
        return "better" if (self.value > self.untrained) == (better == "higher") else "worse"


def numbers(found: Mapping[str, Any]) -> dict[str, Number]:
    """Return every metric by name, in the order of the data."""
    values = {str(name): _float(value) for name, value in (found.get("metrics") or {}).items()}
    known = found.get("intervals") or {}
    intervals = {name: _interval(values, known, name) for name in values}
    noun = noun_of(found.get("modality"))
    return {
        name: Number(
            name,
            value,
            values.get(UNTRAINED + name),
            intervals[name],
            intervals.get(UNTRAINED + name),
            noun,
            values.get(FLOOR + name),
            intervals.get(FLOOR + name),
        )
        for name, value in values.items()
        if not _is_beside(name, values) and not _is_half(name, values)
    }


def shown(value: float | None, kind: Kind) -> str:
    """Return a value as text; a dash for what is not there."""
    text = words.formatted(value, fraction=kind == "fraction")
    return f"−{text[1:]}" if text.startswith("-") else text


def between(interval: Interval | None) -> str:
    """Return an interval as text; empty for None."""
    return "" if interval is None else " to ".join(shown(end, "fraction") for end in interval)


def change(number: Number) -> str:
    """Return what training did: points of a hundred, a factor, or a difference."""
    return words.difference(number.value, number.untrained, number.meaning.kind)


def first(known: Mapping[str, Number]) -> Number | None:
    """Return the number to remember: an accuracy, or without labels a rank.

    None where nothing could be had.
    """
    finite = [name for name, number in known.items() if number.finite]
    name = words.most_telling(finite)
    return None if name is None else known[name]


def headline(known: Mapping[str, Number]) -> dict[str, Any] | None:
    """Return the first number as the template takes it.

    Ends of the bar are in hundredths of its length.
    """
    number = first(known)
    if number is None:
        return None
    unit = number.meaning.kind == "fraction" and 0 <= number.value <= 1
    return {
        "title": number.meaning.title,
        **_in_words(number),
        "claims": number.untrained is None or number.effect in ("better", "worse"),
        "direction": number.meaning.direction,
        "bar": _bar(number) if unit else None,
    }


def groups(found: Mapping[str, Any], known: Mapping[str, Number]) -> list[dict[str, Any]]:
    """Return one group per evaluator: what it is, every number it gave, and its settings."""
    stated: Mapping[str, Any] = found.get("evaluators") or {}
    owners = {name: owner for owner, one in stated.items() for name in (one.get("metrics") or [])}
    rows: dict[str, list[Number]] = {}
    for name, number in known.items():
        owner = owners.get(name) or describe_metric(name).evaluator or "other numbers"
        rows.setdefault(str(owner), []).append(number)
    noun = noun_of(found.get("modality"))
    return [_group(name, own, stated.get(name) or {}, noun) for name, own in rows.items()]


def _group(
    evaluator: str, own: list[Number], stated: Mapping[str, Any], noun: Noun
) -> dict[str, Any]:
    title, note = map(noun.said, describe_evaluator(evaluator))
    many = [number for number in own if number.meaning.one_of_many]
    folded = many if len(many) > _FEW else []
    return {
        "name": evaluator,
        "title": title[:1].upper() + title[1:],
        "note": note,
        "rows": _rows([number for number in own if number not in folded]),
        "folded": _rows(folded),
        "settings": _settings(stated.get("settings")),
    }


def health(known: Mapping[str, Number]) -> list[dict[str, Any]]:
    """Return rows of the numbers that need no labels."""
    return _rows([number for number in known.values() if number.meaning.health], notes=True)


def facts(found: Mapping[str, Any]) -> list[Fact]:
    """Return what was measured on what; what is not known is left out."""
    model: Mapping[str, Any] = found.get("model") or {}
    rest = {key: value for key, value in model.items() if key not in ("encoder", "weights")}
    queries, bank = found.get("query_rows"), found.get("bank_rows")
    noun = noun_of(found.get("modality"))
    versions = ", ".join(
        f"{name} {version}" for name, version in (found.get("versions") or {}).items()
    )
    data = without_secrets(str(found.get("data") or ""))
    known = [
        Fact("Data", data, _text(found.get("digest"))[:12]),
        Fact(
            f"{noun.plural.capitalize()} scored",
            _count(queries),
            f"{_count(bank)} to learn from" if bank else "",
        ),
        Fact("Encoder", _text(model.get("encoder")), _text(model.get("weights"))[:12]),
        *(
            Fact(str(key).replace("_", " ").capitalize(), words.setting(value))
            for key, value in rest.items()
            if not isinstance(value, Mapping)  # such as the settings of a decoder
        ),
        Fact("Labels", _labels(found)),
        Fact("Measured", _text(found.get("date")), versions),
    ]
    return [fact for fact in known if fact.value]


def _labels(found: Mapping[str, Any]) -> str:
    """Return which rows have labels; empty where that is not known."""
    if (labelled := found.get("labelled")) is None:
        return ""
    part = str(found.get("labels") or "").removeprefix("labels ")
    return part or ("yes" if labelled else "none")


def _rows(own: list[Number], *, notes: bool = False) -> list[dict[str, Any]]:
    """Return rows of a table.

    A sentence stands in the first row that has it, or with `notes` in all of them.
    """
    rows: list[dict[str, Any]] = []
    told: set[str] = set()
    for number in own:
        metric = number.meaning
        note = " ".join(filter(None, (metric.note, metric.direction)))
        rows.append(
            {
                "name": number.name,
                "title": metric.title,
                "note": note if notes or note not in told else "",
                **_in_words(number),
            }
        )
        told.add(note)
    return rows


def _bar(number: Number) -> dict[str, float | None]:
    low, high = number.interval or (number.value, number.value)
    other = number.untrained
    return {
        "value": round(100 * number.value, 2),
        "low": round(100 * max(low, 0), 2),
        "width": round(100 * (min(high, 1) - max(low, 0)), 2),
        "untrained": None if other is None or not math.isfinite(other) else round(100 * other, 2),
    }


def _settings(config: Any) -> dict[str, str]:
    if not isinstance(config, Mapping):
        return {}
    stated = {str(key): value for key, value in config.items() if key not in ("name", "every")}
    return {key: without_secrets(words.setting(value)) for key, value in stated.items()}


def _float(value: Any) -> float:
    """Return a number of a JSON; None and text count as NaN."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _interval(values: Mapping[str, float], known: Mapping[str, Any], name: str) -> Interval | None:
    """Return the stated interval, or one around the value by its half width `<name>_ci95`.

    One without width says nothing: the bootstrap gives it where all queries came out alike.
    """
    stated = known.get(name)
    if stated is not None:
        low, high = (_float(end) for end in stated)
    elif (half := values.get(f"{name}_ci95")) is not None:
        low, high = values[name] - half, values[name] + half
    else:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _is_beside(name: str, values: Mapping[str, float]) -> bool:
    """Return whether it is the untrained encoder's or the floor's number of another metric."""
    return any(name.startswith(one) and name.removeprefix(one) in values for one in BESIDE)


def _is_half(name: str, values: Mapping[str, float]) -> bool:
    return name.endswith("_ci95") and name.removesuffix("_ci95") in values


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _in_words(number: Number) -> dict[str, Any]:
    """Return a number, those beside it and what training did, as templates take them."""
    kind = number.meaning.kind
    return {
        "value": shown(number.value, kind),
        "interval": between(number.interval),
        "untrained": "" if number.untrained is None else shown(number.untrained, kind),
        "untrained_interval": between(number.untrained_interval),
        "floor": "" if number.floor is None else shown(number.floor, kind),
        "floor_interval": between(number.floor_interval),
        "change": change(number),
        "effect": number.effect,
    }
