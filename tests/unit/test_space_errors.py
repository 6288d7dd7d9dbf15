"""Each mistake in a search space is one line that names the file, the line and the path."""

import pytest

from manta.config import from_mapping, load
from manta.errors import ConfigError
from manta.tuning.space.read import read_space

RATE = "{type: float, low: 1e-4, high: 1e-2, log: true}"
SGD = "optimizer.name: {type: choice, choices: [sgd]}"
FLIP_RATE = "views.flip: {type: choice, choices: {0: {optimizer.lr: " + RATE + "}, 1: }}"
NAMES = "objective.name: {type: choice, choices: [dcl, byol]}"


def recipe(objective="dcl", **sections):
    return from_mapping({"data": {"source": "digits"}, "objective": {"name": objective}} | sections)


def rate_when(condition):
    return f"optimizer.lr: {RATE[:-1]}, when: {{{condition}}}}}"


def message_of(folder, text, of=None):
    path = folder / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_space(path, of or recipe())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


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
def test_a_file_that_is_no_space(tmp_path, text, expected):
    assert message_of(tmp_path, text).startswith(expected)


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
def test_a_distribution_that_is_none(tmp_path, distribution, expected):
    assert message_of(tmp_path, f"space:\n  optimizer.lr: {distribution}\n").startswith(
        f"2: optimizer.lr: {expected}"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3: {type: choice, choices: [1]}", "3: must be a dotted path"),
        (
            "objectve.name: {type: choice, choices: [dcl]}",
            "objectve.name: no such key; did you mean 'objective'?",
        ),
        ("objective: {type: choice, choices: [{name: dcl}]}", "objective: is a whole section"),
        (
            f"objective.temperatur: {RATE}",
            "objective.temperatur: no such key with objective.name=dcl; did you mean 'temperature'?",
        ),
        (
            f"optimizer.schedule.wormup: {RATE}",
            "optimizer.schedule.wormup: no such key; did you mean 'warmup'?",
        ),
        (
            f"optimizer.shedule.end: {RATE}",
            "optimizer.shedule.end: no such key; did you mean 'schedule'?",
        ),
        (
            f"objective.temperature.start: {RATE}",
            "objective.temperature.start: objective.temperature is the plain number 0.1, which has no keys",
        ),
        (
            f"views.crop_scale.low: {RATE}",
            "views.crop_scale.low: views.crop_scale is None, which has no keys",
        ),
        (
            "objective.temperature: {type: float, low: -1, high: 1}",
            "objective.temperature: must stay above 0, but it is -1",
        ),
        (
            "views.flip: {type: float, low: 0.5, high: 1.5}",
            "views.flip: Input should be less than or equal to 1 (got 1.5)",
        ),
        (
            "train.batch_size: {type: float, low: 128, high: 256}",
            "train.batch_size: Input should be a valid integer",
        ),
        (
            "train.batch_size: {type: choice, choices: [128, many]}",
            "train.batch_size: Input should be a valid integer",
        ),
        (
            "train.accumulate: {type: int, low: 1, high: 4}",
            "train.accumulate: train.batch_size 256 does not divide",
        ),
        (
            "views.crop_scale: {type: choice, choices: [[1.0, 0.5]]}",
            "views.crop_scale: crop_scale must ascend",
        ),
        (
            "objective.name: {type: choice, choices: [dcl, dlc]}",
            "objective.name: no objective is named 'dlc'; did you mean 'dcl'?",
        ),
        (
            "objective.name: {type: choice, choices: [dcl, 3]}",
            "objective.name: must be a name, not 3",
        ),
        (
            "optimizer.schedule.name: {type: choice, choices: [cosinus]}",
            "optimizer.schedule.name: Input tag 'cosinus'",
        ),
        (
            "optimizer.name: {type: choice, choices: [adamm]}",
            "optimizer.name: timm has no optimizer 'adamm'",
        ),
        (
            "optimizer.args.betas: {type: choice, choices: [3]}",
            "optimizer.args.betas: adamw refuses its arguments",
        ),
        (
            "encoder.name: {type: choice, choices: [resnet18, resnot]}",
            "encoder.name: no encoder is named 'resnot'",
        ),
    ],
)
def test_a_path_or_value_that_the_recipe_refuses(tmp_path, line, expected):
    assert message_of(tmp_path, f"space:\n  {line}\n").startswith(f"2: {expected}")


UNSEARCHABLE = [
    *(
        "data.source",
        "data.limit",
        "data.cache",
        "data.cache_dir",
        "data.decode_size",
        "evaluation.holdout",
    ),
    *("watch.every", "tracking.experiment", "resources.workers", "description.x"),
]


@pytest.mark.parametrize("path", UNSEARCHABLE)
def test_what_would_make_trials_incomparable(tmp_path, path):
    text = f"space:\n  {path}: {{type: choice, choices: [1]}}\n"
    assert message_of(tmp_path, text).startswith(
        f"2: {path}: cannot be searched, since trials that differ in data"
    )


def test_the_line_is_that_of_the_value(tmp_path):
    text = "space:\n  objective.name:\n    type: choice\n    choices:\n      dcl:\n      dlc:\n"
    assert message_of(tmp_path, text).startswith("6: objective.name: no objective is named 'dlc'")
    text = f"space:\n  objective.temperature: {RATE}\n  objective.name: {{type: choice, choices: [dcl, dlc]}}\n"
    assert message_of(tmp_path, text).startswith("3: objective.name: no objective is named 'dlc'")
    text = "space:\n  views.flip:\n    type: float\n    high: 2\n    low: 0\n"
    assert message_of(tmp_path, text).startswith("4: views.flip: ")
    text = "space:\n  views.flip:\n    type: float\n    high: 0\n    low: 1\n"
    assert message_of(tmp_path, text).startswith("5: views.flip: low 1 is not below high 0")
    text = "space:\n  views.flip:\n    type: choice\n    choices:\n      - 0\n      - 0\n"
    assert message_of(tmp_path, text).startswith("6: views.flip: choice 0 is given twice")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            (rate_when("optimizer.nam: sgd"), SGD),
            "2: optimizer.lr: when: optimizer.nam is not in the space; did you mean 'optimizer.name'?",
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
            "3: optimizer.lr: given on line 2 too, and both can hold at once with views.flip=0, views.blur=0",
        ),
        (
            (FLIP_RATE, rate_when("views.flip: 0")),
            "3: optimizer.lr: given twice under the same condition; the first is on line 2",
        ),
    ],
)
def test_conditions_that_cannot_be(tmp_path, lines, expected):
    text = "\n".join(["space:", *(f"  {line}" for line in lines)])
    assert message_of(tmp_path, text).startswith(expected)


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
def test_constraints_that_say_nothing(tmp_path, text, expected):
    lines = f'space:\n  views.strength: {{type: float, low: 0, high: 2}}\nconstraints:\n  - 1 < 2\n  - "{text}"\n'
    assert message_of(tmp_path, lines).startswith(f"5: constraints: {expected}")


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


def test_the_shipped_file_is_named_as_it_was_given(monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    with pytest.raises(ConfigError) as caught:
        read_space("search_spaces/temperature.yaml", load("jobs/recipes/byol-cifar10.yaml"))
    assert str(caught.value) == (
        "search_spaces/temperature.yaml:7: objective.temperature: no such key with objective.name=byol; "
        "known: momentum, name, predictor, projector"
    )
