"""Trial of one of timm's models at a size, on the meta device where that is possible."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

from manta.encoders.catalogue import has_fixed_size
from manta.errors import ConfigError
from manta.spec import Spec


def img_size(spec: Spec) -> int | tuple[int, ...]:
    """Return the sides of a grid as timm takes them: one number of a square."""
    return spec.side if len(set(spec.sides)) == 1 else spec.sides


def needs_size(name: str, args: Mapping[str, Any], spec: Spec) -> bool:
    """Return whether a model takes grids of these sizes only if it is built for them.

    Swin is an example. Those that take them anyway are left as timm has them.
    """
    if not has_fixed_size(name):
        return False
    text = json.dumps(dict(args), sort_keys=True, default=str)
    return not _runs(name, text, spec, sized=False) and _runs(name, text, spec, sized=True)


@lru_cache(maxsize=256)
def _runs(name: str, args: str, spec: Spec, *, sized: bool) -> bool:
    """Return whether timm's model runs on such grids.

    Args:
        args: of `timm.create_model`, as JSON.
        sized: give the sides as `img_size` too.
    """
    import timm

    further = json.loads(args) | ({"img_size": img_size(spec)} if sized else {})

    def forward() -> bool:
        model = timm.create_model(name, num_classes=0, **further)
        model.eval()(spec.example(1))
        return True

    return runs_somewhere(forward)


def runs_somewhere(trial: Callable[[], bool]) -> bool:
    """Return the answer of a trial that builds a model and runs it; False if it raises.

    On the meta device nothing is computed. Where a model cannot be built there, the trial is
    repeated on the CPU.
    """
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), torch.no_grad():
                return trial()
        except ConfigError:
            return False
        except Exception as error:  # torch and timm have many kinds; the answer is no
            if "meta" not in f"{type(error).__name__} {error}":
                return False
    return False
