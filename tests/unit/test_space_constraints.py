"""Constraints between values: what they accept, and how a meaningless one is refused."""

import pytest
from spaces import NESTED, RECIPE, message_of, read


@pytest.mark.parametrize(
    ("text", "strength", "broken"),
    [
        ("views.strength * 2 < optimizer.lr + 3", 1.0, False),
        ("views.strength * 2 < optimizer.lr + 3", 1.5, False),
        ("views.strength * 2 < optimizer.lr + 3", 1.6, True),
        ("0.5 <= views.strength < 1", 1.0, True),
        ("0.5 <= views.strength < 1", 0.5, False),
        ("views.strength - 1 >= -views.strength", 0.4, True),
        ("1 / (views.strength - 1) > 0", 1.0, True),
        ("objective.name == 'dcl'", 1.0, False),
        ("objective.name != 'dcl'", 1.0, True),
        ("views.local_size < data.image_size - 32", 1.0, False),
    ],
)
def test_constraints(text, strength, broken):
    lines = (
        f"space:\n  views.strength: {{type: float, low: 0, high: 2}}\nconstraints:\n  - {text}\n"
    )
    assert read(lines).violated(RECIPE, {"views.strength": strength}) == (text if broken else None)


def test_a_constraint_on_what_another_objective_has_does_not_concern_this_one():
    space = read(
        NESTED + "constraints:\n  - objective.variance < 10\n  - objective.temperature < 0.2\n",
    )
    drawn = {"objective.name": "dcl", "optimizer.name": "adamw", "objective.temperature@dcl": 0.1}
    assert space.violated(RECIPE, drawn) is None
    assert (
        space.violated(RECIPE, drawn | {"objective.temperature@dcl": 0.3})
        == "objective.temperature < 0.2"
    )
    drawn = {"objective.name": "vicreg", "optimizer.name": "adamw", "objective.variance": 20.0}
    assert space.violated(RECIPE, drawn) == "objective.variance < 10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("views.local_siz < 3", "views.local_siz: no such key; did you mean 'local_size'?"),
        ("local_size < 3", "local_size: no such key; known: "),
        ("objective.variance < 3", "objective.variance: no such key"),
        ("views.strength", "views.strength: compares nothing"),
        ("views.strength <", "views.strength <: is no constraint"),
        (
            "__import__('os').system('false') == 0",
            "__import__('os').system('false') == 0: \"__import__('os').system",
        ),
        (
            "views.strength ** 9 < 3",
            "views.strength ** 9 < 3: 'views.strength ** 9' cannot be part of a constraint",
        ),
        (
            "views.crop_scale[0] < 3",
            "views.crop_scale[0] < 3: 'views.crop_scale[0]' cannot be part",
        ),
        (
            "(views.strength < 3) == 1",
            "(views.strength < 3) == 1: 'views.strength < 3' cannot be part",
        ),
        ("views.preset in 'auto'", "views.preset in 'auto': "),
        ("views.strength < 3 and 1 < 2", "views.strength < 3 and 1 < 2: compares nothing"),
        ("views.preset < 3", "views.preset < 3: 'auto' and 3 have no order"),
        (
            "views.preset + 1 == 3",
            "views.preset + 1 == 3: computes with 'auto', which is no number",
        ),
        ("optimizer.schedule > 3", "optimizer.schedule > 3: {"),
    ],
)
def test_constraints_that_say_nothing(text, expected):
    space = "space:\n  views.strength: {type: float, low: 0, high: 2}\n"
    lines = f'{space}constraints:\n  - 1 < 2\n  - "{text}"\n'
    assert message_of(lines).startswith(f"5: constraints: {expected}")
