"""Search spaces: what `manta tune` varies, read from a YAML file and checked against the recipe
that it varies.

    description: what it searches, for whom, at what cost
    study: {metric: knn_top1, trials: 12}          # how it is searched: `manta.tuning.study.settings`
    space:                                         # dotted path into the recipe -> distribution
      optimizer.lr: {type: float, low: 3e-4, high: 1e-2, log: true}          # or step: of a grid
      train.batch_size: {type: int, low: 64, high: 256, step: 64}
      views.crop_scale: {type: choice, choices: [null, [0.08, 1.0], [0.4, 1.0]]}
      objective.name:
        type: choice
        choices:                                   # each with parameters of its own, to any depth
          dcl: {objective.temperature: {type: float, low: 0.03, high: 0.5, log: true}}
          barlow_twins: {}
      optimizer.momentum: {type: float, low: 0.8, high: 0.99, when: {optimizer.name: [sgd, lars]}}
    constraints:                                   # trials that break one are not run
      - views.local_size < data.image_size

`when` is the flat form of what nesting says: the parameter exists only where each path named is
drawn as one of the values listed. A choice that is a list or a mapping is known by its label,
compact JSON, to whoever draws (`Parameter.labels`); `Space.values` and `Space.apply` turn labels
back into choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta.catalogue import space_folder
from manta.config import Experiment
from manta.errors import ConfigError
from manta.tuning.space.check import check
from manta.tuning.space.constraints import Constraint
from manta.tuning.space.model import Label, Parameter, Space
from manta.tuning.space.parse import parse
from manta.tuning.space.yaml import Node, read

__all__ = ["Constraint", "Label", "Parameter", "Space", "StudySection", "read_space"]


@dataclass(frozen=True, slots=True)
class StudySection:
    """The section `study` as it was written.

    Attributes:
        values: plain data.
        node: where it stands.
    """

    values: dict[str, Any]
    node: Node

    def line(self, key: str) -> int:
        """Of a dotted key (`scheduler.reduction`), or of the nearest section around it."""
        return self._find(key).line

    def error(self, key: str, message: str) -> ConfigError:
        """`file:line: study.key: message`."""
        return self._find(key).error(f"study.{key}: {message}")

    def _find(self, key: str) -> Node:
        node = self.node
        for part in key.split("."):
            if part not in node.children:
                break
            node = node.children[part]
        return node


def read_space(path: Path | str, recipe: Experiment) -> tuple[Space, StudySection]:
    """The space in a file, checked against the recipe, and the settings of the study, which are not
    checked.

    Raises:
        ConfigError: one line that names the file, the line, the path and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in space_folder().glob("*.yaml")))
        raise ConfigError(
            f"no search space at {path}; `manta list spaces` shows those that ship: {shipped}"
        )
    root = read(path)
    space, nodes = parse(root)
    check(space, nodes, recipe, str(path))
    study = root.children.get("study", Node(str(path), 1, None))
    if not isinstance(study.value, (dict, type(None))):
        raise study.error("study: must map settings to values")
    return space, StudySection(study.value or {}, study)
