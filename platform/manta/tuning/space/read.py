"""Search spaces: what `manta tune` varies, read from a file and checked against the recipe.

    description: what it searches, for whom, at what cost
    study: {metric: knn_top1, trials: 12}          # how: `manta.tuning.study.settings`
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

`when` is the flat form of nesting: the parameter exists only where each path named is drawn as one
of the values listed. A choice that is a list or a mapping has a label, compact JSON, by which
samplers and databases know it (`Parameter.labels`); `Space.values` and `Space.apply` turn labels
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
from manta.tuning.space.yaml import Node, read_nodes

__all__ = ["Constraint", "Label", "Parameter", "Space", "StudySection", "parse_space", "read_space"]


@dataclass(frozen=True, slots=True)
class StudySection:
    """Section `study` of a file as it was written.

    Attributes:
        values: plain data.
        node: where it stands.
    """

    values: dict[str, Any]
    node: Node

    def line(self, key: str) -> int:
        """Return the line of a dotted key (`scheduler.reduction`), or of the section around it."""
        return self.node.find(*key.split(".")).line

    def error(self, key: str, message: str) -> ConfigError:
        """Return the error `file:line: study.key: message`."""
        return self.node.find(*key.split(".")).error(f"study.{key}: {message}")


def read_space(path: Path | str, recipe: Experiment) -> tuple[Space, StudySection]:
    """Return the space in a file, and the settings of the study in it.

    The space is checked against the recipe; the settings are not checked yet.

    Raises:
        ConfigError: one line that names the file, the line, the path and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in space_folder().glob("*.yaml")))
        raise ConfigError(
            f"no search space at {path}; `manta list spaces` shows those that ship: {shipped}"
        )
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return parse_space(text, recipe, str(path))


def parse_space(text: str, recipe: Experiment, file: str) -> tuple[Space, StudySection]:
    """Return what `read_space` does, from the text of a file.

    Args:
        file: name for errors.

    Raises:
        ConfigError: as `read_space`.
    """
    root = read_nodes(text, file)
    space, nodes = parse(root)
    check(space, nodes, recipe, file)
    study = root.children.get("study", Node(file, 1, None))
    if not isinstance(study.value, (dict, type(None))):
        raise study.error("study: must map settings to values")
    return space, StudySection(study.value or {}, study)
