"""What users write in a call, as the rooms of the package take it."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from manta.errors import ConfigError
from manta.files import Place
from manta.words import as_path, choice, places

if TYPE_CHECKING:
    from manta.config import Experiment

PathLike: TypeAlias = str | os.PathLike[str]
"""A path, a URL, a name, or a result such as `Run`, which stands for its folder."""

Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Changes of a recipe: `{"train.epochs": 3}`, `{"train": {"epochs": 3}}`, `["train.epochs=3"]`."""
Notify: TypeAlias = Callable[[str], None]

_UNPRINTABLE = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def _ignore(_note: str) -> None:
    """Say nothing."""


def load_recipe(
    recipe: PathLike | Experiment,
    overrides: Overrides = (),
    *,
    data: PathLike | None = None,
    progress: bool = True,
) -> Experiment:
    """Return the configuration that a recipe gives once it is changed by overrides.

    Args:
        recipe: name of a recipe that ships (`manta.list_recipes()`), path of a YAML file, an
            `Experiment`, or a `Run` or `Study`, of which it is the (best) configuration.
        overrides: a mapping with dotted or nested keys, or words such as `"train.epochs=3"`.
            Another objective, encoder, optimizer or schedule brings its own defaults.
        data: source of images; short for the override `data.source`.
        progress: whether it is said which settings were dropped because another component is named.

    Returns:
        A frozen `Experiment`; `to_yaml()` writes what `load_recipe` reads back.

    Raises:
        ConfigError: there is no such recipe or key, or a value cannot work; one line.
    """
    from manta.config import Experiment, changed, load
    from manta.printing import say

    words = override_words(overrides, data)
    recipe = getattr(recipe, "experiment", recipe)
    notify = say if progress else _ignore
    if not isinstance(recipe, Experiment):
        experiment = load(_present(recipe_path(recipe, notify)), words, notify=notify)
        data_word(experiment.data.source, notify)
        return experiment
    if not words:
        return recipe
    experiment, notes = changed(recipe, words)
    for note in notes:
        notify(note)
    return experiment


def override_words(overrides: Overrides, data: PathLike | None = None) -> list[str]:
    """Return overrides as words, `section.key=value` with the value as JSON.

    Args:
        data: a value for `data.source`, which comes last and so decides.

    Raises:
        ConfigError: a value is nothing that YAML can hold.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides are a mapping or a list of words: [{overrides!r}]")
    if isinstance(overrides, Mapping):
        words = [f"{key}={_value(key, value)}" for key, value in _flat(overrides)]
    else:
        words = list(overrides)
    return words if data is None else [*words, f"data.source={_value('data', data_word(data))}"]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(key: str, value: Any) -> str:
    if value is None:
        return "!!null"  # `null` alone is a text where the setting is one
    try:
        # YAML would take JSON's pairs of escapes, for what lies beyond 16 bits, for two characters,
        # and refuses or folds what else is no printable character.
        text = json.dumps(value, default=_plain, ensure_ascii=False)
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    except TypeError:
        kind = type(value).__name__
        raise ConfigError(f"override {key!r} is a {kind}, which no recipe can hold") from None


def _plain(value: Any) -> Any:
    """Return a path or a NumPy number as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError


def recipe_path(recipe: PathLike, notify: Notify = _ignore) -> Path:
    """Return the path of a recipe: of the one of that name, or the path itself; `manta.words`."""
    from manta.catalogue import recipe_named

    return _file(recipe, recipe_named, "recipe", notify)


def _present(path: Path) -> Path:
    """Return the path of a recipe, which must be there.

    Raises:
        ConfigError: it is not; the message names a recipe that ships and is called alike.
    """
    from manta.catalogue import recipe_folder

    if not path.exists():
        shipped = sorted(file.stem for file in recipe_folder().glob("*.yaml"))
        near = difflib.get_close_matches(path.stem, shipped, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no recipe at {path}; {hint}`manta list recipes` shows those that ship")
    return path


def space_path(space: PathLike, notify: Notify = _ignore) -> Path:
    """Return the path of a search space, as `recipe_path` finds recipes."""
    from manta.catalogue import space_named

    return _file(space, space_named, "search space", notify)


def _file(location: PathLike, named: Callable[[str], Path], noun: str, notify: Notify) -> Path:
    """Return the likelier place that holds a file, else one that a message can name."""
    word = as_path(location)
    likely = places(word, str(named(word)), of_file=True)
    if line := choice(word, likely, noun):
        notify(line)
    urls = ("~", "file:", "local:")
    local = [Path(Place.of(one).url if one.startswith(urls) else one) for one in likely]
    files = [place for place in local if place.is_file()]
    return next(iter([*files, *filter(os.path.exists, local), *local]))


def data_word(data: PathLike, notify: Notify = _ignore) -> str:
    """Return what a source is opened by; where data that ship have its name, it is said."""
    word = os.fspath(data)
    if "/" in word or (isinstance(data, str) and not os.path.exists(word)):
        return word
    from manta.data import is_builtin  # brings Ray, which takes seconds

    if not is_builtin(word):
        return word
    if not isinstance(data, str):
        return as_path(data)
    notify(f"{word} is taken for the data that ship; write ./{word} for what lies here")
    return word


def model_word(model: PathLike, runs: PathLike, notify: Notify = _ignore) -> str:
    """Return what `model_folder` takes: a run that lies in `runs` by its name, which is shorter.

    Where a name is that of a folder here too, it is said which is meant.
    """
    word = as_path(model)
    if isinstance(model, str):
        from manta.models.find import choice_of_model

        if line := choice_of_model(word, os.fspath(runs)):
            notify(line)
        return word
    folder = os.path.join(os.path.abspath(os.fspath(runs)), os.path.basename(word))
    return os.path.basename(word) if folder == word else word
