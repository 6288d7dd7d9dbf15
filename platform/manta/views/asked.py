"""What an objective asks beyond alike views, and the refusal of what a pipeline cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Literal

from manta.batch import Ask, Same, ViewNeeds
from manta.errors import ConfigError
from manta.views.masks import check_mask, mask_kind

Feature = Literal["target", "same", "gap", "length", "mask", "preset", "field"]
ALL_BUT_FIELDS: frozenset[Feature] = frozenset(
    {"target", "same", "gap", "length", "mask", "preset"}
)
_WORDS: dict[Feature, str] = {
    "target": "a view without augmentation (role 'target')",
    "same": "two views of the very same window (gap Same)",
    "gap": "a window at a distance from another one (gap {gap})",
    "length": "a window of a length of its own",
    "mask": "masks that differ between views",
    "preset": "a view of a preset of its own",
    "field": "a view of the field {field!r}",
}


def check_asks(name: str, honours: Set[Feature], needs: ViewNeeds) -> None:
    """Check that a pipeline can make what an objective asks.

    Args:
        name: of the pipeline.
        honours: what it can do beyond alike views of one mask.

    Raises:
        ConfigError: it cannot, or a mask has a setting that it lacks.
    """
    for ask in needs.asks:
        for feature in _features(ask, needs):
            if feature not in honours:
                words = _WORDS[feature].format(gap=type(ask.gap).__name__, field=ask.field)
                raise ConfigError(
                    f"this objective asks for {words}, which views.name={name} cannot make; "
                    "choose another objective or data.modality"
                )
    for mask in needs.masks:
        kind = mask_kind(mask)
        if needs.mask_grid is not None:
            check_mask(mask.kind, kind, needs.mask_grid)


def _features(ask: Ask, needs: ViewNeeds) -> Iterator[Feature]:
    """Yield what an ask needs beyond alike views of one mask."""
    if ask.field:
        yield "field"
    if ask.role == "target":
        yield "target"
    if ask.gap is not None:
        yield "same" if isinstance(ask.gap, Same) else "gap"
    if ask.length is not None:
        yield "length"
    if ask.preset is not None:
        yield "preset"
    if ask.mask != needs.mask:
        yield "mask"
