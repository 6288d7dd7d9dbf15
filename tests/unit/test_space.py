"""Search spaces: what they draw, what they do to a recipe, and how their mistakes are told."""

import pickle
import random
from pathlib import Path

import optuna
import pytest

from manta.catalogue import entries
from manta.config import from_mapping, load
from manta.errors import ConfigError
from manta.tuning.space.read import Parameter, read_space

ROOT = Path(__file__).resolve().parents[2]
RECIPE = from_mapping(
    {"data": {"source": "digits"}, "objective": {"name": "dcl", "temperature": 0.1}}
)
ONE_STEP = {"name": "cosine", "warmup": 1}  # of warm-up, where 1.0 would be all of the run
RATE = "{type: float, low: 1e-4, high: 1e-2, log: true}"


def recipe(**sections):
    return from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}} | sections)


def read(folder, text, of=RECIPE):
    path = folder / "x.yaml"
    path.write_text(text)
    return read_space(path, of)[0]


def space_of(folder, *lines, of=RECIPE):
    """A space whose first parameter is on line 2."""
    return read(folder, "\n".join(["space:", *(f"  {line}" for line in lines)]), of)


def drawer(seed):
    """Draws as a sampler does: labels of choices, numbers of ranges."""
    rng = random.Random(seed)

    def suggest(parameter: Parameter):
        if parameter.kind == "choice":
            return rng.choice(parameter.labels)
        if parameter.step is None:
            return rng.uniform(parameter.low, parameter.high)
        return (
            parameter.low
            + rng.randint(0, round((parameter.high - parameter.low) / parameter.step))
            * parameter.step
        )

    return suggest


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


def test_conditions_come_first_and_names_tell_one_path_from_itself(tmp_path):
    space = read(tmp_path, NESTED)
    names = [parameter.name for parameter in space.parameters]
    assert set(names[:2]) == {"objective.name", "optimizer.name"}
    assert set(names[2:]) == {
        "optimizer.momentum",
        "objective.temperature@dcl",
        "objective.temperature@simclr",
        "objective.variance",
        "optimizer.weight_decay",
    }
    by_name = {parameter.name: parameter for parameter in space.parameters}
    assert (
        by_name["objective.temperature@dcl"].high,
        by_name["objective.temperature@simclr"].high,
    ) == (0.5, 1.0)
    assert by_name["objective.temperature@simclr"].line == 9
    assert by_name["optimizer.weight_decay"].when == (
        ("objective.name", ("vicreg",)),
        ("optimizer.name", ("sgd",)),
    )


@pytest.mark.parametrize(
    ("objective", "optimizer", "asked"),
    [
        ("dcl", "adamw", {"objective.temperature@dcl"}),
        ("simclr", "lars", {"objective.temperature@simclr", "optimizer.momentum"}),
        ("vicreg", "adamw", {"objective.variance"}),
        ("vicreg", "lars", {"objective.variance", "optimizer.momentum"}),
        ("vicreg", "sgd", {"objective.variance", "optimizer.momentum", "optimizer.weight_decay"}),
    ],
)
def test_only_active_parameters_are_asked_for(tmp_path, objective, optimizer, asked):
    chosen = {"objective.name": objective, "optimizer.name": optimizer}
    space = read(tmp_path, NESTED)
    drawn = space.draw(lambda p: chosen.get(p.name, p.high))
    assert set(drawn) == asked | set(chosen)
    values = space.values(drawn)
    assert {path.partition("@")[0] for path in asked} == set(values) - set(chosen)
    applied = space.apply(RECIPE, drawn)
    assert (applied.objective.name, applied.optimizer.name) == (objective, optimizer)


def test_names_say_as_much_of_the_condition_as_is_needed(tmp_path):
    space = space_of(
        tmp_path,
        "optimizer.name:",
        "  type: choice",
        "  choices:",
        "    adamw: {train.clip: {type: choice, choices: {null: , 1.0: {optimizer.lr: "
        + RATE
        + "}}}}",
        "    sgd: {train.clip: {type: choice, choices: {null: , 1.0: {optimizer.lr: "
        + RATE
        + "}}}}",
    )
    names = {parameter.name for parameter in space.parameters}
    assert names == {
        *("optimizer.name", "train.clip@adamw", "train.clip@sgd"),
        *("optimizer.lr@adamw,1.0", "optimizer.lr@sgd,1.0"),
    }
    drawn = space.draw(lambda p: p.labels[-1] if p.labels else p.low)
    assert drawn == {"optimizer.name": "sgd", "train.clip@sgd": 1.0, "optimizer.lr@sgd,1.0": 1e-4}


def test_a_new_objective_brings_its_own_defaults_and_drops_the_old_fields(tmp_path):
    own = recipe(
        objective={"name": "dcl", "temperature": 0.3, "sigma": 0.5, "projector": {"hidden": 64}},
        views={"crop_scale": [0.3, 1.0]},
    )
    space = space_of(
        tmp_path, "objective.name: {type: choice, choices: [dcl, simclr, byol]}", of=own
    )
    simclr = space.apply(own, {"objective.name": "simclr"})
    assert simclr.objective == recipe(objective={"name": "simclr"}).objective
    assert (simclr.objective.temperature, simclr.objective.projector.hidden) == (0.5, 512)
    assert simclr.views == own.views
    assert space.apply(own, {"objective.name": "dcl"}) == own
    assert space.apply(own, {"objective.name": "byol"}).objective.momentum.start == 0.99


def test_a_default_of_the_new_objective_can_be_set_in_part(tmp_path):
    space = space_of(
        tmp_path,
        "objective.name: {type: choice, choices: {dcl: , byol: {objective.momentum.start: "
        "{type: float, low: 0.9, high: 0.999}}}}",
    )
    momentum = space.apply(
        RECIPE, {"objective.name": "byol", "objective.momentum.start": 0.95}
    ).objective.momentum
    assert (momentum.name, momentum.start, momentum.end) == ("cosine", 0.95, 1.0)


def test_a_schedule_is_a_component_too(tmp_path):
    schedule = {"name": "cosine", "warmup": 0.3, "end": 0.2}
    own = recipe(
        optimizer={"schedule": schedule, "lr": 0.5},
        objective={"name": "dcl", "temperature": {"name": "linear", "start": 0.5, "end": 0.1}},
    )
    space = space_of(
        tmp_path,
        "optimizer.schedule.name: {type: choice, choices: [cosine, warmup_stable_decay]}",
        "optimizer.schedule.decay: {type: float, low: 0, high: 0.5, when: {optimizer.schedule.name: "
        "warmup_stable_decay}}",
        "objective.temperature.name: {type: choice, choices: [linear, constant]}",
        of=own,
    )
    drawn = {"optimizer.schedule.name": "warmup_stable_decay", "optimizer.schedule.decay": 0.4}
    moved = space.apply(own, drawn).optimizer
    assert (
        moved.schedule.name,
        moved.schedule.decay,
        moved.schedule.warmup,
        moved.schedule.end,
        moved.lr,
    ) == (
        *("warmup_stable_decay", 0.4, 0, 0.0),
        0.5,
    )
    assert space.apply(own, {"optimizer.schedule.name": "cosine"}) == own
    constant = space.apply(own, {"objective.temperature.name": "constant"}).objective.temperature
    assert (constant.name, constant.at) == ("constant", 1.0)


def test_another_optimizer_keeps_all_but_the_arguments_of_the_old(tmp_path):
    own = recipe(
        optimizer={"name": "adamw", "lr": 0.02, "momentum": 0.8, "args": {"betas": [0.9, 0.95]}}
    )
    space = space_of(tmp_path, "optimizer.name: {type: choice, choices: [adamw, lars]}", of=own)
    lars = space.apply(own, {"optimizer.name": "lars"}).optimizer
    assert (lars.lr, lars.momentum, lars.args) == (0.02, 0.8, {})
    assert space.apply(own, {"optimizer.name": "adamw"}) == own


def test_lists_and_mappings_are_drawn_by_their_labels(tmp_path):
    space = space_of(
        tmp_path,
        "objective.temperature: {type: choice, choices: [0.1, {name: cosine, start: 0.5, end: 0.1}]}",
        "views.crop_scale: {type: choice, choices: [null, [0.2, 1.0]]}",
        "views.blur: {type: float, low: 0.1, high: 0.5, when: {views.crop_scale: [[0.2, 1.0]]}}",
    )
    labels = {parameter.name: parameter.labels for parameter in space.parameters}
    schedule = '{"name":"cosine","start":0.5,"end":0.1}'
    assert labels["objective.temperature"] == (0.1, schedule)
    assert labels["views.crop_scale"] == (None, "[0.2,1.0]")
    drawn = space.draw(lambda p: p.labels[-1] if p.labels else p.low)
    assert drawn == {
        "objective.temperature": schedule,
        "views.crop_scale": "[0.2,1.0]",
        "views.blur": 0.1,
    }
    assert space.values(drawn)["views.crop_scale"] == [0.2, 1.0]
    applied = space.apply(RECIPE, drawn)
    assert (applied.objective.temperature.start, applied.views.crop_scale) == (0.5, (0.2, 1.0))
    for other in ({"views.crop": None}, {"views.crop_scale": "[0.3,1.0]"}):
        with pytest.raises(ConfigError, match=r"another space|not among the choices"):
            space.apply(RECIPE, other)


def test_optuna_draws_from_it_and_it_travels_to_another_process(tmp_path):
    space = pickle.loads(
        pickle.dumps(read(tmp_path, NESTED + "constraints: [objective.temperature != 2]\n"))
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def suggest(trial, p):
        if p.kind == "choice":
            return trial.suggest_categorical(p.name, p.labels)
        return trial.suggest_float(p.name, p.low, p.high, log=p.log, step=p.step)

    for _ in range(12):
        trial = study.ask()
        drawn = space.draw(lambda p, trial=trial: suggest(trial, p))
        assert drawn == trial.params
        assert space.violated(RECIPE, drawn) is None
        assert space.apply(RECIPE, drawn).objective.name == drawn["objective.name"]
        study.tell(trial, 0.0)
    assert len({trial.params["objective.name"] for trial in study.trials}) == 3


@pytest.mark.parametrize(
    ("line", "sections", "expected"),
    [
        ("optimizer.lr: " + RATE, {}, {"optimizer.lr": 1e-3}),
        ("optimizer.lr: " + RATE, {"optimizer": {"lr": 0.1}}, None),
        (
            "optimizer.momentum: {type: float, low: 0.5, high: 0.95, step: 0.05}",
            {},
            {"optimizer.momentum": 0.9},
        ),
        ("optimizer.momentum: {type: float, low: 0.5, high: 0.98, step: 0.06}", {}, None),
        (
            "train.batch_size: {type: int, low: 128, high: 512, step: 128}",
            {},
            {"train.batch_size": 256},
        ),
        ("train.batch_size: {type: int, low: 100, high: 300, step: 100}", {}, None),
        ("train.batch_size: {type: choice, choices: [128, 256]}", {}, {"train.batch_size": 256}),
        ("train.batch_size: {type: choice, choices: [128, 512]}", {}, None),
        (
            "train.precision: {type: choice, choices: [bf16, fp32]}",
            {"train": {"precision": 32}},
            "fp32",
        ),
        (
            "views.crop_scale: {type: choice, choices: [[0.5, 1]]}",
            {"views": {"crop_scale": [0.5, 1]}},
            "[0.5,1]",
        ),
        (
            "optimizer.schedule: {type: choice, choices: [{name: cosine}, {name: cosine, warmup: 0.1}]}",
            {},
            '{"name":"cosine","warmup":0.1}',
        ),
        (
            "optimizer.schedule.warmup: {type: choice, choices: [1.0]}",
            {"optimizer": {"schedule": ONE_STEP}},
            None,
        ),
        (
            "optimizer.weight_decay: {type: float, low: 0, high: 1}",
            {"optimizer": {"weight_decay": ONE_STEP}},
            None,
        ),
        ("objective.name: {type: choice, choices: [byol, vicreg]}", {}, None),
    ],
)
def test_the_recipe_itself_as_drawn_values(tmp_path, line, sections, expected):
    own = recipe(**sections)
    space = space_of(tmp_path, line, of=own)
    if isinstance(expected, str):
        expected = {space.parameters[0].name: expected}
    assert space.default(own) == expected
    if expected is not None:
        assert space.apply(own, expected) == own


def test_the_default_holds_what_is_active_for_the_recipe(tmp_path):
    space = read(tmp_path, NESTED)
    assert space.default(RECIPE) == {
        "objective.name": "dcl",
        "optimizer.name": "adamw",
        "objective.temperature@dcl": 0.1,
    }
    sgd = recipe(objective={"name": "vicreg"}, optimizer={"name": "sgd"})
    assert space.default(sgd) == {
        "objective.name": "vicreg",
        "optimizer.name": "sgd",
        "objective.variance": 25.0,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 0.05,
    }


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
def test_constraints(tmp_path, text, strength, broken):
    lines = (
        f"space:\n  views.strength: {{type: float, low: 0, high: 2}}\nconstraints:\n  - {text}\n"
    )
    assert read(tmp_path, lines).violated(RECIPE, {"views.strength": strength}) == (
        text if broken else None
    )


def test_a_constraint_on_what_another_objective_has_does_not_concern_this_one(tmp_path):
    space = read(
        tmp_path,
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


def test_the_study_section_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        f"study:\n  trials: 12\n  scheduler:\n    name: asha\n    max: 9\nspace:\n  optimizer.lr: {RATE}\n"
    )
    _, study = read_space(path, RECIPE)
    assert study.values == {"trials": 12, "scheduler": {"name": "asha", "max": 9}}
    assert [study.line(key) for key in ("trials", "scheduler.max", "scheduler.min", "metric")] == [
        2,
        5,
        3,
        1,
    ]
    assert str(study.error("trials", "too many")) == f"{path}:2: study.trials: too many"
    path.write_text(f"space: {{optimizer.lr: {RATE}}}\n")
    assert read_space(path, RECIPE)[1].values == {}


SPACES = sorted(ROOT.glob("search_spaces/*.yaml"))
RECIPES = sorted(ROOT.glob("jobs/recipes/*.yaml"))
SEARCHED = ("simclr", "dcl", "byol", "barlow_twins", "vicreg")
"""Objectives that `joint` and `objective` choose from."""


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_suits_the_recipes(path):
    for of in RECIPES:
        own = load(of)
        if (
            path.stem == "temperature" and own.objective.name == "isogclr"
        ):  # bounded, by a sample's own temperatures
            with pytest.raises(
                ConfigError, match=r"temperature.yaml:7: .*0.03 is not between temperature_min 0.05"
            ):
                read_space(path, own)
            continue
        if path.stem == "temperature" and "temperature" not in type(own.objective).model_fields:
            with pytest.raises(
                ConfigError,
                match=rf"temperature.yaml:7: .*no such key with .*{own.objective.name};",
            ):
                read_space(path, own)
            continue
        space, study = read_space(path, own)
        assert len(space.description) > 40
        assert study.values["trials"] >= 10
        default = space.default(own)
        unknown = path.stem in ("joint", "objective") and own.objective.name not in SEARCHED
        hot = path.stem == "temperature" and own.objective.temperature > 1  # the space ends there
        assert (default is None) == (unknown or hot)
        if default is not None:
            assert space.apply(own, default) == own
        suggest, held, broken = drawer(0), 0, set()
        for _ in range(40):
            drawn = space.draw(suggest)
            text = space.violated(own, drawn)
            if text is None:
                applied = space.apply(own, drawn)
                held += all(
                    applied.model_dump(mode="json")[path.split(".")[0]]
                    for path in space.values(drawn)
                )
            else:
                broken.add(text)
        assert held >= 20
        assert broken == {constraint.text for constraint in space.constraints}


def test_the_shipped_spaces_are_listed():
    rows = {row["name"] for row in entries("spaces")}
    assert rows == {"temperature", "augmentation", "schedule", "optimizer", "objective", "joint"}
    assert {path.stem for path in SPACES} == rows


def test_joint_gives_each_objective_its_own_parameters():
    space, _ = read_space(ROOT / "search_spaces/joint.yaml", RECIPE)
    own = {
        "simclr": {"objective.temperature@simclr"},
        "dcl": {"objective.temperature@dcl", "objective.sigma"},
        "byol": {"objective.momentum.start"},
        "barlow_twins": {"objective.lambda_"},
        "vicreg": {"objective.variance", "objective.covariance"},
    }
    for name, parameters in own.items():
        drawn = space.draw(
            lambda p, name=name: name if p.name == "objective.name" else (p.labels or (p.low,))[0]
        )
        assert {key for key in drawn if key.startswith("objective.")} == parameters | {
            "objective.name"
        }
