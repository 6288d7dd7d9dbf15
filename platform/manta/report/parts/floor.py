"""The floor in words: what it is, and what loses to it."""

from __future__ import annotations

from collections.abc import Mapping

from manta.modalities import Noun
from manta.report.parts import words


def floor_words(metrics: Mapping[str, float], title: str, noun: Noun) -> dict[str, str] | None:
    """Return what a page says of the floor; None where there is no number of it.

    Args:
        metrics: by name, the floor's with their prefix.
        title: what the floor's features are; empty where that is not known.

    Returns:
        "about": a sentence on what it is; "lost": one on what loses to it, or empty.
    """
    from manta.evaluators import lost_to_floor

    if not any(name.startswith(words.FLOOR) for name in metrics):
        return None
    features = title or "features"
    pairs = [
        f"{noun.said(words.title(name))} is {words.number(metrics[name], name)}, the floor's "
        f"{words.number(metrics[words.FLOOR + name], name)}"
        for name in lost_to_floor(metrics)
    ]
    about = f"The floor is what the same evaluators find in {features}, which nothing has learned."
    return {"about": about, "lost": f"{'; '.join(pairs)}." if pairs else ""}
