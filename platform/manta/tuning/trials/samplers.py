"""Optuna's samplers, by the names that a study's settings give them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial

from manta.tuning.space.read import Parameter
from manta.tuning.study.settings import SamplerName


def make_sampler(
    name: SamplerName, *, seed: int, trials: int, conditional: bool
) -> optuna.samplers.BaseSampler:
    """Build a sampler.

    Args:
        trials: of the whole study; a third of them, at most ten, are drawn at random first.
        conditional: whether some parameters exist for some choices only; each such group is then
            modelled apart.
    """
    first = max(min(trials // 3, 10), 3)
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return samplers.TPESampler(seed=seed, n_startup_trials=first, group=conditional)
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=first)
            case "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=first, warn_independent_sampling=False
                )
            case "nsga2":
                population = max(min(trials // 3, 50), 4)
                return samplers.NSGAIISampler(seed=seed, population_size=population)


def seed_of(study_seed: int, number: int) -> int:
    """Return the seed with which a study draws its trial of this number."""
    return int(np.random.SeedSequence([study_seed, number]).generate_state(1)[0])


def suggest(trial: Trial, parameter: Parameter) -> Any:
    """Return Optuna's value for one parameter: a number, or the label of a choice."""
    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == "choice":
        return trial.suggest_categorical(name, parameter.labels)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return trial.suggest_int(name, int(low), int(high), step=step, log=parameter.log)
    return trial.suggest_float(name, low, high, step=parameter.step, log=parameter.log)
