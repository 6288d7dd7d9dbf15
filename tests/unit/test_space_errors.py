"""Each mistake in a search space is one line that names the file, the line and the path."""

import pytest
from spaces import RATE, message_of, recipe

from manta.errors import ConfigError
from manta.tuning.space.read import read_space

SGD = "optimizer.name: {type: choice, choices: [sgd]}"
FLIP_RATE = "views.flip: {type: choice, choices: {0: {optimizer.lr: " + RATE + "}, 1: }}"
NAMES = "objective.name: {type: choice, choices: [dcl, byol]}"


def rate_when(condition):
    return f"optimizer.lr: {RATE[:-1]}, when: {{{condition}}}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: is empty"),
        ("a: [1\n", "2: is not valid YAML: expected ',' or ']'"),
        ("space:\n  a: 'x\n", "3: is not valid YAML"),
        ("space: &a {b: *a}\n", "1: holds itself by an alias"),
        ("- 1\n", "1: must hold the sections"),
        (
            f"space:\n  optimizer.lr: {RATE}\n\n  optimizer.lr: {RATE}\n",
            "4: optimizer.lr: given twice; the first is on line 2",
        ),
        (
            f"studdy: {{}}\nspace: {{optimizer.lr: {RATE}}}\n",
            "1: studdy: no such section; did you mean 'study'?",
        ),
        ("study: {}\n", "1: space: must map dotted paths to distributions"),
        ("study: {}\nspace: {}\n", "2: space: must map"),
        ("study: {}\nspace: [1]\n", "2: space: must map"),
        (f"space: {{optimizer.lr: {RATE}}}\nstudy: 3\n", "2: study: must map settings"),
        (f"description: [1]\nspace: {{optimizer.lr: {RATE}}}\n", "1: description: must be text"),
        (
            f"space: {{optimizer.lr: {RATE}}}\nconstraints: a < b\n",
            "2: constraints: must be a list",
        ),
        (
            f"space: {{optimizer.lr: {RATE}}}\nconstraints: [3]\n",
            "2: constraints: 3 is no comparison",
        ),
    ],
)
def test_a_file_that_is_no_space(text, expected):
    assert message_of(text).startswith(expected)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("0.1", "must be a distribution, such as"),
        ("{low: 0.1, high: 1}", "needs a type"),
        (
            "{type: flot, low: 0.1, high: 1}",
            "no distribution is of type 'flot'; did you mean 'float'?",
        ),
        (
            "{type: float, low: 0.1, hihg: 1}",
            "a distribution of type float has no 'hihg'; did you mean 'high'?",
        ),
        ("{type: choice, choices: [1], low: 3}", "a distribution of type choice has no 'low'"),
        ("{type: float, low: 0.1}", "high is missing"),
        ("{type: float, low: 0.1, high: x}", "high must be a number, not 'x'"),
        ("{type: float, low: true, high: 2}", "low must be a number, not True"),
        ("{type: float, low: 0, high: .inf}", "high must be a number, not inf"),
        ("{type: float, low: 1.0, high: 0.1}", "low 1 is not below high 0.1"),
        ("{type: float, low: 0, high: 1, log: true}", "a log range needs low above 0, not 0"),
        ("{type: float, low: 0.1, high: 1, log: 1}", "log must be true or false, not 1"),
        (
            "{type: float, low: 0.1, high: 1.1, log: true, step: 0.1}",
            "log and step exclude each other",
        ),
        ("{type: float, low: 0.1, high: 1, step: 0}", "step must be above 0, not 0"),
        ("{type: float, low: 0.1, high: 1, step: -0.1}", "step must be above 0, not -0.1"),
        (
            "{type: float, low: 0.1, high: 0.45, step: 0.1}",
            "steps of 0.1 end at 0.4, not at high 0.45",
        ),
        ("{type: int, low: 1.5, high: 3}", "low 1.5 is not a whole number"),
        ("{type: int, low: 1, high: 3, step: 0.5}", "step 0.5 is not a whole number"),
        ("{type: choice}", "choices are missing"),
        ("{type: choice, choices: []}", "choices must be a list"),
        ("{type: choice, choices: {}}", "choices must be a list"),
        ("{type: choice, choices: 3}", "choices must be a list"),
        ("{type: choice, choices: [0.1, 0.1]}", "choice 0.1 is given twice"),
        ("{type: choice, choices: [1, true]}", "choice True is given twice"),
        ("{type: choice, choices: {1: 3}}", "choice 1 must hold a mapping"),
        ("{type: float, low: 0.1, high: 1, when: sgd}", "when must map"),
        ("{type: choice, choices: [0.1], when: {}}", "when must map"),
    ],
)
def test_a_distribution_that_is_none(distribution, expected):
    assert message_of(f"space:\n  optimizer.lr: {distribution}\n").startswith(
        f"2: optimizer.lr: {expected}"
    )


def test_the_line_is_that_of_the_value():
    text = "space:\n  objective.name:\n    type: choice\n    choices:\n      dcl:\n      dlc:\n"
    assert message_of(text).startswith("6: objective.name: no objective is named 'dlc'")
    names = "objective.name: {type: choice, choices: [dcl, dlc]}"
    text = f"space:\n  objective.temperature: {RATE}\n  {names}\n"
    assert message_of(text).startswith("3: objective.name: no objective is named 'dlc'")
    text = "space:\n  views.flip:\n    type: float\n    high: 2\n    low: 0\n"
    assert message_of(text).startswith("4: views.flip: ")
    text = "space:\n  views.flip:\n    type: float\n    high: 0\n    low: 1\n"
    assert message_of(text).startswith("5: views.flip: low 1 is not below high 0")
    text = "space:\n  views.flip:\n    type: choice\n    choices:\n      - 0\n      - 0\n"
    assert message_of(text).startswith("6: views.flip: choice 0 is given twice")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            (rate_when("optimizer.nam: sgd"), SGD),
            "2: optimizer.lr: when: optimizer.nam is not in the space; "
            "did you mean 'optimizer.name'?",
        ),
        (
            (rate_when("optimizer.name: [sgb]"), SGD),
            "2: optimizer.lr: when: optimizer.name is never 'sgb'; did you mean 'sgd'?",
        ),
        (
            (rate_when("optimizer.name: []"), SGD),
            "2: optimizer.lr: when: optimizer.name has no values",
        ),
        (
            (rate_when("views.flip: 0.5"), "views.flip: {type: float, low: 0, high: 1}"),
            "2: optimizer.lr: when: views.flip is a range",
        ),
        (
            (
                "views.flip: {type: choice, choices: [0, 1], when: {views.blur: 0}}",
                "views.blur: {type: choice, choices: [0, 1], when: {views.flip: 1}}",
            ),
            "2: views.flip: exists only where it has a certain value itself, through views.blur",
        ),
        (
            ("views.flip: {type: choice, choices: [0, 1], when: {views.flip: 0}}",),
            "2: views.flip: exists only where it has a certain value itself",
        ),
        (
            (
                "views.flip: {type: choice, choices: {1: , 0: {views.blur: "
                "{type: choice, choices: [1], when: {views.flip: 1}}}}}",
            ),
            "2: views.blur: never exists, since its conditions exclude one another",
        ),
        (
            (NAMES, f"objective.temperature: {RATE}"),
            "3: objective.temperature: no such key with objective.name=byol; known: momentum",
        ),
        (
            (NAMES, f"objective.temperature: {RATE[:-1]}, when: {{objective.name: byol}}}}"),
            "3: objective.temperature: no such key with objective.name=byol",
        ),
        (
            (
                "optimizer.schedule: {type: choice, choices: [{name: cosine}, {name: constant}]}",
                "optimizer.schedule.end: {type: float, low: 0, high: 1}",
            ),
            '3: optimizer.schedule.end: no such key with optimizer.schedule={"name":"constant"}',
        ),
        (
            (FLIP_RATE, f"optimizer.lr: {RATE}"),
            "2: optimizer.lr: given on line 3 too, and both can hold at once with views.flip=0",
        ),
        (
            (
                FLIP_RATE,
                "views.blur: {type: choice, choices: {0: {optimizer.lr: " + RATE + "}, 1: }}",
            ),
            "3: optimizer.lr: given on line 2 too, and both can hold at once "
            "with views.flip=0, views.blur=0",
        ),
        (
            (FLIP_RATE, rate_when("views.flip: 0")),
            "3: optimizer.lr: given twice under the same condition; the first is on line 2",
        ),
    ],
)
def test_conditions_that_cannot_be(lines, expected):
    text = "\n".join(["space:", *(f"  {line}" for line in lines)])
    assert message_of(text).startswith(expected)


def test_a_missing_file_says_what_ships(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"no search space at .*none.yaml; `manta list spaces` .*: augmentation, joint",
    ):
        read_space(tmp_path / "none.yaml", recipe())


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_space(tmp_path / "x.yaml", recipe())
