"""The numbers of an evaluation: trained beside untrained, with intervals, and what may be said of
their difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta.report.evaluation.words import Meaning, evaluator_of, evaluator_title, meaning
from manta.report.parts import words as words
from manta.report.parts.facts import Fact
from manta.secrets import without_secrets

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "open", ""]
UNTRAINED = "random_"
_FEW = 6
_PREFERRED = ("knn_top1", "linear_top1", "linear_sgd_top1")
_LABEL_FREE = ("rankme", "lidar", "nesum", "silhouette")


@dataclass(frozen=True, slots=True)
class Number:
    """A metric's value and the untrained encoder's, each with its 95% interval where it is known.

    Attributes:
        value: NaN where it could not be had.
        untrained: None where there is no untrained encoder.
    """

    name: str
    value: float
    untrained: float | None = None
    interval: Interval | None = None
    untrained_interval: Interval | None = None

    @property
    def meaning(self) -> Meaning:
        return meaning(self.name)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value)

    @property
    def verdict(self) -> Verdict:
        """Whether training made it better or worse: only where both intervals are known and apart.
        "open" where they overlap; empty where nothing can be said."""
        mine, other = self.interval, self.untrained_interval
        if (
            mine is None
            or other is None
            or self.untrained is None
            or self.meaning.better not in ("higher", "lower")
        ):
            return ""
        if not (self.finite and math.isfinite(self.untrained)):
            return ""
        if mine[0] <= other[1] and other[0] <= mine[1]:
            return "open"
        return (
            "better"
            if (self.value > self.untrained) == (self.meaning.better == "higher")
            else "worse"
        )


def numbers(found: Mapping[str, Any]) -> dict[str, Number]:
    """Every metric by name, in the order of the data."""
    values = {str(name): _float(value) for name, value in (found.get("metrics") or {}).items()}
    known = found.get("intervals") or {}
    intervals = {name: _interval(values, known, name) for name in values}
    return {
        name: Number(
            name,
            value,
            values.get(UNTRAINED + name),
            intervals[name],
            intervals.get(UNTRAINED + name),
        )
        for name, value in values.items()
        if not (name.startswith(UNTRAINED) and name.removeprefix(UNTRAINED) in values)
        and not _is_half(name, values)
    }


def shown(value: float | None, kind: str) -> str:
    """A value as text; the dash is for what is not there."""
    text = words.number(value, "accuracy" if kind == "fraction" else "")
    return f"−{text[1:]}" if text.startswith("-") else text


def between(interval: Interval | None) -> str:
    return "" if interval is None else " to ".join(shown(end, "fraction") for end in interval)


def change(number: Number) -> str:
    """What training did: points of a hundred, a factor, or a difference."""
    value, untrained, kind = number.value, number.untrained, number.meaning.kind
    if untrained is None or kind == "setting" or not (number.finite and math.isfinite(untrained)):
        return ""
    if kind == "fraction":
        points = words.signed(100 * (value - untrained))
        return f"{points} point{'' if points in ('+1', '−1') else 's'}"
    if kind == "factor" and value > 0 and untrained > 0:
        return f"× {value / untrained:.3g}"
    difference = float(f"{value - untrained:.2g}")
    return (
        f"{'−' if difference < 0 else '+' if difference > 0 else ''}{words.number(abs(difference))}"
    )


def first(known: Mapping[str, Number]) -> Number | None:
    """The number to remember: an accuracy, or without labels a rank; None where nothing could be
    had."""
    finite = {
        name: number
        for name, number in known.items()
        if number.finite and number.meaning.kind != "setting"
    }
    accuracies = [
        name
        for name, number in finite.items()
        if name.endswith("_top1") and not number.meaning.one_of_many
    ]
    ordered = [*_PREFERRED, *accuracies, *_LABEL_FREE, *finite]
    return next((finite[name] for name in ordered if name in finite), None)


def headline(known: Mapping[str, Number]) -> dict[str, Any] | None:
    """The first number, as the template takes it; ends of the bar are in hundredths of its
    length."""
    number = first(known)
    if number is None:
        return None
    unit = number.meaning.kind == "fraction" and 0 <= number.value <= 1
    return {
        "title": number.meaning.title,
        **_in_words(number),
        "claims": number.untrained is None or number.verdict in ("better", "worse"),
        "direction": number.meaning.direction,
        "bar": _bar(number) if unit else None,
    }


def groups(found: Mapping[str, Any], known: Mapping[str, Number]) -> list[dict[str, Any]]:
    """One group an evaluator: what it is, every number it gave, and its settings."""
    stated: Mapping[str, Any] = found.get("evaluators") or {}
    owner = {name: judge for judge, one in stated.items() for name in (one.get("metrics") or [])}
    rows: dict[str, list[Number]] = {}
    for name, number in known.items():
        rows.setdefault(str(owner.get(name) or evaluator_of(name)), []).append(number)
    made = []
    for judge, own in rows.items():
        title, note = evaluator_title(judge)
        many = [number for number in own if number.meaning.one_of_many]
        folded = many if len(many) > _FEW else []
        made.append(
            {
                "name": judge,
                "title": title[:1].upper() + title[1:],
                "note": note,
                "rows": _rows([number for number in own if number not in folded]),
                "folded": _rows(folded),
                "settings": _settings((stated.get(judge) or {}).get("settings")),
            }
        )
    return made


def health(known: Mapping[str, Number]) -> list[dict[str, Any]]:
    """Numbers that need no labels."""
    return _rows([number for number in known.values() if number.meaning.health], notes=True)


def facts(found: Mapping[str, Any]) -> list[Fact]:
    """What was measured on what; what is not known is left out."""
    model: Mapping[str, Any] = found.get("model") or {}
    rest = {key: value for key, value in model.items() if key not in ("encoder", "weights")}
    queries, bank = found.get("query_rows"), found.get("bank_rows")
    versions = ", ".join(
        f"{name} {version}" for name, version in (found.get("versions") or {}).items()
    )
    data = without_secrets(str(found.get("data") or ""))
    labelled = found.get("labelled")
    known = [
        Fact("Data", data, _text(found.get("digest"))[:12]),
        Fact("Images scored", _count(queries), f"{_count(bank)} to learn from" if bank else ""),
        Fact("Encoder", _text(model.get("encoder")), _text(model.get("weights"))[:12]),
        *(
            Fact(str(key).replace("_", " ").capitalize(), words.setting(value))
            for key, value in rest.items()
        ),
        Fact("Labels", "" if labelled is None else "yes" if labelled else "none"),
        Fact("Measured", _text(found.get("date")), versions),
    ]
    return [fact for fact in known if fact.value]


def _rows(own: list[Number], *, notes: bool = False) -> list[dict[str, Any]]:
    """Rows of a table. A sentence that the row before has as well is not told again, unless
    `notes`."""
    made: list[dict[str, Any]] = []
    told: set[str] = set()
    for number in own:
        what = number.meaning
        note = " ".join(filter(None, (what.note, what.direction)))
        made.append(
            {
                "name": number.name,
                "title": what.title,
                "note": note if notes or note not in told else "",
                **_in_words(number),
            }
        )
        told.add(note)
    return made


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
    """What JSON may hold for a number: None and text count as NaN."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _interval(values: Mapping[str, float], known: Mapping[str, Any], name: str) -> Interval | None:
    """As stated, or around the value where half of it is a number `_ci95` of its own. One without
    width says nothing: the bootstrap has it where all queries came out alike."""
    stated = known.get(name)
    if stated is not None:
        low, high = (_float(end) for end in stated)
    elif (half := values.get(f"{name}_ci95")) is not None:
        low, high = values[name] - half, values[name] + half
    else:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _is_half(name: str, values: Mapping[str, float]) -> bool:
    return name.endswith("_ci95") and name.removesuffix("_ci95") in values


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _in_words(number: Number) -> dict[str, Any]:
    """A number, the untrained encoder's and what lies between, as templates take them."""
    kind = number.meaning.kind
    return {
        "value": shown(number.value, kind),
        "interval": between(number.interval),
        "untrained": "" if number.untrained is None else shown(number.untrained, kind),
        "untrained_interval": between(number.untrained_interval),
        "change": change(number),
        "verdict": number.verdict,
    }
