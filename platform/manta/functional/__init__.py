"""The equations: pure functions of tensors, without state, communication or engine.

Every loss takes embeddings `[N, D]` and returns a scalar in float32 (float64 for float64 inputs).
Its module says how several ranks compute it together.
"""

from manta.functional._precision import full_precision, upcast
from manta.functional.contrastive import dcl, nt_xent
from manta.functional.distillation import dino, negative_cosine
from manta.functional.masked import masked_patch_mse, patchify
from manta.functional.redundancy import (
    barlow_twins,
    barlow_twins_terms,
    cross_correlation,
    vicreg,
    vicreg_terms,
)
from manta.functional.spectrum import alpha_req, feature_std, lidar, rankme

__all__ = [
    "alpha_req",
    "barlow_twins",
    "barlow_twins_terms",
    "cross_correlation",
    "dcl",
    "dino",
    "feature_std",
    "full_precision",
    "lidar",
    "masked_patch_mse",
    "negative_cosine",
    "nt_xent",
    "patchify",
    "rankme",
    "upcast",
    "vicreg",
    "vicreg_terms",
]
