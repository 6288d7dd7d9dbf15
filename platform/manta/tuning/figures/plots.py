"""Plotly figures of a study, and how much each parameter matters.

Optuna draws its own from a copy of the study. A failed trial stands in a study as complete and
infeasible, with a value made up to keep the sampler away: the copy holds it as failed, which leaves
it out and keeps the numbers of the others.
"""

from __future__ import annotations

import contextlib
import html
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from plotly.colors import sample_colorscale

from manta.report.parts import words as words
from manta.report.study.record import StudyRecord
from manta.tuning.figures.curves import agreement, learning_curves, rung_survival
from manta.tuning.figures.theme import BEST, FAINT, RECIPE, SCALE, NotDrawn, dressed, grid, log_axis

_FEWEST, _ENOUGH = 8, 20
_TOP = 5
_MOST_BARS = 15
_MOST_SLICES = 9
_MOST_AXES = 10
_TOGETHER = 4


def figures(
    study: optuna.Study, record: StudyRecord, taus: Mapping[str, float | None]
) -> dict[str, go.Figure | str]:
    """Title -> figure, or one sentence on why there is none. `layout.meta` says how to read it.
    Never raises.

    Args:
        taus: metric that needs no labels -> Kendall's tau with kNN over the complete trials, 1
            where both order them alike from worst to best.
    """
    labels = _labels(study)
    with _quiet():
        copy = _copy(study, record, labels)
        matter = [labels[name] for name in importances(study, record)]
        makers: dict[str, Callable[[], go.Figure]] = {
            "Optimisation history": lambda: _history(copy, record),
            "Importance of parameters": lambda: _importance(study, record, labels),
            "Slices": lambda: _slices(copy, record, labels, matter),
            "Parallel coordinates": lambda: _parallel(copy, record, matter),
            "The two parameters that matter most": lambda: _contour(copy, record, matter),
            "Rung survival": lambda: rung_survival(record),
            "Learning curves": lambda: learning_curves(record),
            "Metrics without labels against kNN": lambda: agreement(record, taus),
        }
        if len(record.metrics) > 1:
            makers = {"Pareto front": lambda: _front(study, record, labels)} | makers
        return {title: _made(make) for title, make in makers.items()}


def importances(study: optuna.Study, record: StudyRecord) -> dict[str, float]:
    """Parameter -> its share of what decides whether a trial is among the best; {} with too little
    data.

    Optuna's default, PED-ANOVA (Watanabe et al., 2023, arXiv:2304.10255), by the first metric. It
    asks only which trials are on top, so pruned trials count as well: one that went further is
    better than one stopped before. A parameter that exists under a condition and was drawn by fewer
    than eight trials is left out: on so few, chance comes first.
    """
    try:
        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter(
                "error", UserWarning
            )  # Optuna's way to say that the result means nothing
            ranked = _ranked(study, record, {})
            often = [name for name, count in _drawn(ranked).items() if count >= _FEWEST]
            if len(often) < 2:
                return {}
            found: dict[str, float] = optuna.importance.get_param_importances(
                ranked, evaluator=_evaluator(ranked), params=often
            )
    except (NotDrawn, UserWarning):
        return {}
    return found


def _drawn(ranked: optuna.Study) -> Counter[str]:
    """How many of the trials that count have each parameter."""
    trials = ranked.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return Counter(name for trial in trials for name in trial.params)


def _made(make: Callable[[], go.Figure]) -> go.Figure | str:
    try:
        return dressed(make())
    except NotDrawn as reason:
        return str(reason)
    except Exception as error:  # a study's report is worth more than any one of its pictures
        return f"It could not be drawn ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log of studies created in memory and without warnings of experimental
    features."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _labels(study: optuna.Study) -> dict[str, str]:
    """Parameter -> a short name that plotly shows as it stands: it takes `<b>` and the like for
    markup."""
    names = [name for trial in study.get_trials(deepcopy=False) for name in trial.params]
    return {
        name: html.escape(label, quote=False)
        for name, label in words.short_paths(names, longest=24).items()
    }


def _copy(
    study: optuna.Study, record: StudyRecord, labels: Mapping[str, str], metrics: int = 1
) -> optuna.Study:
    """The complete trials, by their first `metrics` metrics, with parameters named by `labels`."""
    complete = {trial.number for trial in record.complete}
    values = {
        trial.number: list(trial.values[:metrics])
        for trial in study.get_trials(deepcopy=False)
        if trial.number in complete and trial.values and _feasible(trial)
    }
    return _with_values(
        study,
        values,
        ["maximize" if mode == "max" else "minimize" for mode in record.modes[:metrics]],
        labels,
    )


def _ranked(study: optuna.Study, record: StudyRecord, labels: Mapping[str, str]) -> optuna.Study:
    """Complete and pruned trials, each with its place as value: first how far it went, then how
    good it was.

    Raises:
        NotDrawn: too few trials, all alike, or a single parameter.
    """
    sign = 1 if record.modes[0] == "max" else -1
    # A recipe outside of the space stands in the study as failed: what it drew is not what was
    # trained.
    drawn = {
        trial.number for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL
    }
    reached = {
        trial.number: (max(trial.rungs, default=0.0), sign * trial.value)
        for trial in record.trials
        if trial.state in ("complete", "pruned")
        and trial.value is not None
        and trial.number in drawn
    }
    if len(reached) < _FEWEST:
        raise NotDrawn(
            f"It takes at least {_FEWEST} trials that did not fail; this study has {len(reached)}."
        )
    places = {key: place for place, key in enumerate(sorted(set(reached.values())))}
    if len({value for _, value in places}) < 2:
        raise NotDrawn("All trials have the same value, so no parameter matters.")
    names = {
        name
        for trial in study.get_trials(deepcopy=False)
        if trial.number in reached
        for name in trial.params
    }
    if len(names) < 2:
        raise NotDrawn("The search has one parameter only, so there is nothing to compare it with.")
    return _with_values(
        study, {number: [places[key]] for number, key in reached.items()}, ["maximize"], labels
    )


def _with_values(
    study: optuna.Study,
    values: Mapping[int, list[float]],
    directions: list[str],
    labels: Mapping[str, str],
) -> optuna.Study:
    """The study's parameters with other values; trials without any are there as failed, so that
    numbers stay."""
    copy = optuna.create_study(directions=directions)
    for trial in study.get_trials(deepcopy=False):
        found = values.get(trial.number)
        copy.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if found is None else TrialState.COMPLETE,
                values=found,
                params={labels.get(name, name): value for name, value in trial.params.items()},
                distributions={
                    labels.get(name, name): kind for name, kind in trial.distributions.items()
                },
            )
        )
    return copy


def _feasible(trial: FrozenTrial) -> bool:
    failed = trial.user_attrs.get("manta.state") == "failed"
    return not failed and all(violation <= 0 for violation in trial.constraints.values())


def _evaluator(ranked: optuna.Study) -> PedAnovaImportanceEvaluator:
    """On top stands the best tenth, or `_TOP` trials where that is more (Optuna's advice), but
    never over a quarter."""
    counted = sum(trial.state == TrialState.COMPLETE for trial in ranked.get_trials(deepcopy=False))
    return PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(_TOP / counted, 0.25)))


def _complete(copy: optuna.Study, fewest: int) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = copy.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < fewest:
        told = "complete trial" if fewest == 1 else f"{fewest} complete trials"
        raise NotDrawn(
            f"It takes at least {'one ' if fewest == 1 else ''}{told}; this study has {len(trials) or 'none'}."
        )
    return trials


def _history(copy: optuna.Study, record: StudyRecord) -> go.Figure:
    _complete(copy, 1)
    metric = words.title(record.metrics[0])
    figure = optuna.visualization.plot_optimization_history(copy, target_name=metric)
    figure.update_traces(
        selector={"mode": "markers"}, marker={"color": SCALE[-1], "size": 8}, name="complete"
    )
    figure.update_traces(
        selector={"mode": "lines"},
        line={"color": BEST, "width": 2, "shape": "hv"},
        name="best so far",
    )
    pruned = [
        trial for trial in record.trials if trial.state == "pruned" and trial.value is not None
    ]
    figure.add_scatter(
        x=[trial.number for trial in pruned],
        y=[trial.value for trial in pruned],
        mode="markers",
        name="pruned, when it was stopped",
        marker={"color": FAINT, "size": 7, "symbol": "circle-open"},
    )
    if record.default is not None and record.default.state == "complete":
        figure.add_hline(record.default.value, line={"color": RECIPE, "dash": "dash", "width": 1.4})
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=record.default.value,
            yanchor="bottom",
            text="recipe",
            showarrow=False,
        )
    return figure.update_layout(
        meta="Each trial by its value, and the best so far; the dashed line is the recipe."
    )


def _importance(study: optuna.Study, record: StudyRecord, labels: Mapping[str, str]) -> go.Figure:
    ranked = _ranked(study, record, labels)
    names = [labels[name] for name in importances(study, record)][:_MOST_BARS]
    if not names:
        raise NotDrawn("The best trials have nothing that sets them apart from the others.")
    evaluator = _evaluator(ranked)
    figure = optuna.visualization.plot_param_importances(ranked, evaluator=evaluator, params=names)
    figure.update_traces(marker={"color": SCALE[-1]})
    figure.update_layout(
        xaxis={"title": "share", "range": [0, 1]}, yaxis={"title": ""}, height=110 + 28 * len(names)
    )
    counted = len(_complete(ranked, 1))
    hint = "" if counted >= _ENOUGH else f" Of {counted} trials it is no more than a hint."
    seldom = sum(count < _FEWEST for count in _drawn(ranked).values())
    left_out = f" Left out, since drawn by fewer than {_FEWEST} trials: {seldom}." if seldom else ""
    return figure.update_layout(
        meta="How much each parameter decides whether a trial is among the best; pruned ones count as worse."
        f"{hint}{left_out}"
    )


def _slices(
    copy: optuna.Study, record: StudyRecord, labels: Mapping[str, str], matter: list[str]
) -> go.Figure:
    trials = _complete(copy, 2)
    names = _leading(trials, matter)[:_MOST_SLICES]
    metric = words.title(record.metrics[0])
    figure, places = grid(len(names))
    paths = {label: name for name, label in labels.items()}
    for name, (row, column) in zip(names, places, strict=True):
        part = optuna.visualization.plot_slice(copy, params=[name], target_name=metric)
        categories = part.layout.xaxis.type == "category"
        pruned = [
            (repr(value) if categories else value, trial.value)
            for trial in record.trials
            if trial.state == "pruned" and (value := trial.params.get(paths[name])) is not None
        ]
        figure.add_scatter(
            x=[x for x, _ in pruned],
            y=[y for _, y in pruned],
            mode="markers",
            marker={"color": FAINT, "size": 6, "symbol": "circle-open"},
            name="pruned",
            row=row,
            col=column,
        )
        for trace in part.data:
            trace.marker.update(color=SCALE[-1], size=8, line={"width": 0}, showscale=False)
            figure.add_trace(trace.update(name="complete"), row=row, col=column)
        figure.update_xaxes(_axis(trials, name, repr) | {"title": name}, row=row, col=column)
        if column == 1:
            figure.update_yaxes(title=metric, row=row, col=column)
    return figure.update_layout(
        meta="The value over each parameter, the most important first. Open circles were pruned, at their last value.",
    )


def _parallel(copy: optuna.Study, record: StudyRecord, matter: list[str]) -> go.Figure:
    names = _leading(_complete(copy, 2), matter)[:_MOST_AXES]
    if len(names) < 2:
        raise NotDrawn("The search has one parameter only, which the slices show.")
    figure = optuna.visualization.plot_parallel_coordinate(
        copy, params=names, target_name=words.title(record.metrics[0])
    )
    for trace in figure.data:
        if trace.mode == "lines":
            place = trace.y[0] if record.modes[0] == "max" else 1 - trace.y[0]
            trace.update(
                line={"color": sample_colorscale(SCALE, place)[0], "width": 1 + 2 * place},
                opacity=0.85,
            )
        else:
            trace.marker.update(colorscale=SCALE, reversescale=record.modes[0] == "min")
            trace.marker.colorbar.update(title="", thickness=10, outlinewidth=0)
    figure.update_annotations(font={"size": 10, "color": None})
    figure.update_xaxes(
        ticktext=[words.title(record.metrics[0]), *sorted(names)]
    )  # Optuna cuts them
    return figure.update_layout(
        width=150 * (len(names) + 1),
        height=380,
        margin={"l": 70},
        meta="One line a complete trial, from its value on the left through its parameters; the best are thick.",
    )


def _contour(copy: optuna.Study, record: StudyRecord, matter: list[str]) -> go.Figure:
    trials = _complete(copy, _TOGETHER)
    if not matter:
        raise NotDrawn("There are too few trials to tell which parameters matter most.")
    pair = next((pair for pair in combinations(matter, 2) if _vary_together(trials, pair)), None)
    if pair is None:
        raise NotDrawn(f"No two parameters vary together in at least {_TOGETHER} complete trials.")
    figure = optuna.visualization.plot_contour(
        copy, params=list(pair), target_name=words.title(record.metrics[0])
    )
    figure.update_traces(
        selector={"type": "contour"},
        colorscale=SCALE,
        reversescale=record.modes[0] == "min",
        line={"width": 0},
        colorbar={"title": "", "thickness": 10, "outlinewidth": 0},
    )
    figure.update_traces(
        selector={"type": "scatter"},
        marker={"color": "#ffffff", "size": 8, "line": {"color": "#1d2329", "width": 1.5}},
    )
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.update(_axis(trials, axis.title.text, str) | {"range": axis.range})
    return figure.update_layout(
        meta="The value between the complete trials (dots), interpolated: read it with caution."
    )


def _vary_together(trials: list[FrozenTrial], pair: tuple[str, str]) -> bool:
    both = [
        [trial.params[name] for name in pair]
        for trial in trials
        if all(name in trial.params for name in pair)
    ]
    return len(both) >= _TOGETHER and all(
        len(set(values)) > 1 for values in zip(*both, strict=True)
    )


def _front(study: optuna.Study, record: StudyRecord, labels: Mapping[str, str]) -> go.Figure:
    copy = _copy(study, record, labels, metrics=len(record.metrics))
    _complete(copy, 1)
    titles = [words.title(metric) for metric in record.metrics[:2]]
    figure = optuna.visualization.plot_pareto_front(
        copy, target_names=titles, targets=lambda trial: list(trial.values[:2])
    )
    for trace, colour, name in zip(
        figure.data, (FAINT, SCALE[-1]), ("beaten by another", "on the front"), strict=True
    ):
        trace.update(name=name, showlegend=True)
        trace.marker = {"color": colour, "size": 9}
    return figure.update_layout(
        meta="Each complete trial by its first two metrics; none beats those on the front in all."
    )


def _axis(trials: list[FrozenTrial], name: str, category: Callable[[Any], str]) -> dict[str, Any]:
    """Ticks in plain words; `category` is what Optuna made of a choice to place it."""
    distribution = next(trial.distributions[name] for trial in trials if name in trial.params)
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return {
            "tickvals": [category(choice) for choice in choices],
            "ticktext": [words.setting(c) for c in choices],
        }
    return log_axis(distribution.low, distribution.high) if distribution.log else {}


def _leading(trials: list[FrozenTrial], matter: list[str]) -> list[str]:
    """Parameters of these trials, the most important first."""
    there = {name for trial in trials for name in trial.params}
    return [name for name in matter if name in there] + sorted(there - set(matter))
