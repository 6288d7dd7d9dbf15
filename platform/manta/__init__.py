"""Manta: self-supervised pretraining and tuning on Ray.

    import manta

    run = manta.train("digits", name="first")
    run.metrics["knn_top1"], run.curves, run.page
    features = run.encoder()(images)  # uint8 [N, H, W, 3] -> float32 [N, D]

Every command of the command line is a function here. `import manta` is quick: a function brings
torch, Ray and MLflow when it is first looked up or called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manta.errors import MantaError

if TYPE_CHECKING:
    from manta.api.arguments import load_recipe
    from manta.api.decorators import evaluator, objective
    from manta.api.description import Description, describe
    from manta.api.embeddings import Embeddings, embed, explore
    from manta.api.evaluating import compare, evaluate
    from manta.api.evaluation_result import Comparison, Evaluation
    from manta.api.handover import Export, export, load_encoder, promote, register
    from manta.api.ingesting import IngestedDataset, ingest, survey
    from manta.api.listing import (
        Listing,
        list_encoders,
        list_evaluators,
        list_objectives,
        list_recipes,
        list_schedules,
        list_sources,
        list_spaces,
        run_doctor,
    )
    from manta.api.pretraining import estimate, train
    from manta.api.promotion_result import Promotion
    from manta.api.run_result import Run
    from manta.api.searching import tune
    from manta.api.study_result import Study
    from manta.config import Experiment

__all__ = [
    "Comparison",
    "Description",
    "Embeddings",
    "Evaluation",
    "Experiment",
    "Export",
    "IngestedDataset",
    "Listing",
    "MantaError",
    "Promotion",
    "Run",
    "Study",
    "__version__",
    "compare",
    "describe",
    "embed",
    "estimate",
    "evaluate",
    "evaluator",
    "explore",
    "export",
    "ingest",
    "list_encoders",
    "list_evaluators",
    "list_objectives",
    "list_recipes",
    "list_schedules",
    "list_sources",
    "list_spaces",
    "load_encoder",
    "load_recipe",
    "objective",
    "promote",
    "register",
    "run_doctor",
    "survey",
    "train",
    "tune",
]

__version__ = "0.1.0"

_MODULES = {
    "manta.api.arguments": ("load_recipe",),
    "manta.api.decorators": ("evaluator", "objective"),
    "manta.api.description": ("Description", "describe"),
    "manta.api.embeddings": ("Embeddings", "embed", "explore"),
    "manta.api.evaluating": ("compare", "evaluate"),
    "manta.api.evaluation_result": ("Comparison", "Evaluation"),
    "manta.api.handover": ("Export", "export", "load_encoder", "promote", "register"),
    "manta.api.ingesting": ("IngestedDataset", "ingest", "survey"),
    "manta.api.listing": (
        *("Listing", "list_encoders", "list_evaluators", "list_objectives", "list_recipes"),
        *("list_schedules", "list_sources", "list_spaces", "run_doctor"),
    ),
    "manta.api.pretraining": ("estimate", "train"),
    "manta.api.promotion_result": ("Promotion",),
    "manta.api.run_result": ("Run",),
    "manta.api.searching": ("tune",),
    "manta.api.study_result": ("Study",),
    "manta.config": ("Experiment",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that has it, imported at its first use."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'manta' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
