"""Kinds of masks: which tokens of a view are hidden; one file each, found by the registry.

A package of your own adds one through an entry point in the group `manta.masks`.
"""

from manta.views.masks._base import MASKS, MaskKind, check_mask, draw_mask, mask_kind
from manta.views.masks._tokens import Tokens

__all__ = ["MASKS", "MaskKind", "Tokens", "check_mask", "draw_mask", "mask_kind"]
