"""Search spaces written to a file for a test, and the recipe that they vary."""

import pytest

from manta.config import from_mapping
from manta.errors import ConfigError
from manta.tuning.space.read import parse_space

RATE = "{type: float, low: 1e-4, high: 1e-2, log: true}"

NESTED = """\
space:
  optimizer.momentum: {type: float, low: 0.8, high: 0.99, when: {optimizer.name: [sgd, lars]}}
  objective.name:
    type: choice
    choices:
      dcl:
        objective.temperature: {type: float, low: 0.03, high: 0.5, log: true}
      simclr:
        objective.temperature: {type: float, low: 0.1, high: 1.0}
      vicreg:
        objective.variance: {type: float, low: 5, high: 50, log: true}
        optimizer.weight_decay: {type: float, low: 0.0, high: 0.1, when: {optimizer.name: sgd}}
  optimizer.name: {type: choice, choices: [adamw, sgd, lars]}
"""


def recipe(objective="dcl", **sections):
    """Return a recipe for digits with some sections given."""
    given = {
        "data": {"source": "digits"},
        "objective": objective if isinstance(objective, dict) else {"name": objective},
    }
    return from_mapping(given | sections)


RECIPE = recipe(objective={"name": "dcl", "temperature": 0.1})


def read(text, of=RECIPE):
    """Return the space of a YAML text."""
    return parse_space(text, of, "x.yaml")[0]


def space_of(*lines, of=RECIPE):
    """Return a space whose first parameter is on line 2."""
    return read("\n".join(["space:", *(f"  {line}" for line in lines)]), of)


def message_of(text, of=None):
    """Return what a text is refused with, from the number of the line on."""
    with pytest.raises(ConfigError) as caught:
        parse_space(text, of or recipe(), "x.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("x.yaml:")
    return message.removeprefix("x.yaml:")
