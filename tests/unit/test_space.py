"""Search spaces: what they draw, and what that does to a recipe."""

import pickle

import optuna
import pytest
from spaces import NESTED, RATE, RECIPE, read, recipe, space_of

from manta.errors import ConfigError


def test_conditions_come_first_and_names_tell_one_path_from_itself():
    space = read(NESTED)
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
def test_only_active_parameters_are_asked_for(objective, optimizer, asked):
    chosen = {"objective.name": objective, "optimizer.name": optimizer}
    space = read(NESTED)
    drawn = space.draw(lambda p: chosen.get(p.name, p.high))
    assert set(drawn) == asked | set(chosen)
    values = space.values(drawn)
    assert {path.partition("@")[0] for path in asked} == set(values) - set(chosen)
    applied = space.apply(RECIPE, drawn)
    assert (applied.objective.name, applied.optimizer.name) == (objective, optimizer)


def test_names_say_as_much_of_the_condition_as_is_needed():
    space = space_of(
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


def test_a_new_objective_brings_its_own_defaults_and_drops_the_old_fields():
    own = recipe(
        objective={"name": "dcl", "temperature": 0.3, "sigma": 0.5, "projector": {"hidden": 64}},
        views={"crop_scale": [0.3, 1.0]},
    )
    space = space_of("objective.name: {type: choice, choices: [dcl, simclr, byol]}", of=own)
    simclr = space.apply(own, {"objective.name": "simclr"})
    assert simclr.objective == recipe(objective={"name": "simclr"}).objective
    assert (simclr.objective.temperature, simclr.objective.projector.hidden) == (0.5, 512)
    assert simclr.views == own.views
    assert space.apply(own, {"objective.name": "dcl"}) == own
    assert space.apply(own, {"objective.name": "byol"}).objective.momentum.start == 0.99


def test_a_default_of_the_new_objective_can_be_set_in_part():
    space = space_of(
        "objective.name: {type: choice, choices: {dcl: , byol: {objective.momentum.start: "
        "{type: float, low: 0.9, high: 0.999}}}}",
    )
    momentum = space.apply(
        RECIPE, {"objective.name": "byol", "objective.momentum.start": 0.95}
    ).objective.momentum
    assert (momentum.name, momentum.start, momentum.end) == ("cosine", 0.95, 1.0)


def test_a_schedule_is_a_component_too():
    schedule = {"name": "cosine", "warmup": 0.3, "end": 0.2}
    own = recipe(
        optimizer={"schedule": schedule, "lr": 0.5},
        objective={"name": "dcl", "temperature": {"name": "linear", "start": 0.5, "end": 0.1}},
    )
    space = space_of(
        "optimizer.schedule.name: {type: choice, choices: [cosine, warmup_stable_decay]}",
        "optimizer.schedule.decay: {type: float, low: 0, high: 0.5, "
        "when: {optimizer.schedule.name: warmup_stable_decay}}",
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


def test_another_optimizer_keeps_all_but_the_arguments_of_the_old():
    own = recipe(
        optimizer={"name": "adamw", "lr": 0.02, "momentum": 0.8, "args": {"betas": [0.9, 0.95]}}
    )
    space = space_of("optimizer.name: {type: choice, choices: [adamw, lars]}", of=own)
    lars = space.apply(own, {"optimizer.name": "lars"}).optimizer
    assert (lars.lr, lars.momentum, lars.args) == (0.02, 0.8, {})
    assert space.apply(own, {"optimizer.name": "adamw"}) == own


def test_lists_and_mappings_are_drawn_by_their_labels():
    space = space_of(
        "objective.temperature: "
        "{type: choice, choices: [0.1, {name: cosine, start: 0.5, end: 0.1}]}",
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


def test_optuna_draws_from_it_and_it_travels_to_another_process():
    space = pickle.loads(pickle.dumps(read(NESTED + "constraints: [objective.temperature != 2]\n")))
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
