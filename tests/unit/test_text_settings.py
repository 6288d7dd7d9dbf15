"""Settings that are texts: what was typed is what they hold, in words, mappings and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import manta
from manta.config import Experiment, from_mapping, load
from manta.errors import ConfigError

TYPED = [
    "2024", "on", "yes", "No", "true", "null", "~", "1e3", "0x1F", "1_000", "12:30", "2024-01-01",
    "[raw]", "[a, b", "{a}", "{a: 1}", "trip: 1", "*.parquet", "@x", "&a", "&a b", "!x", "!!x y",
    "%s", "`x`", "a # b", "#1", "${x}", "${train.epochs}", "${", "$HOME", "a:", "- a", "---",
    "? a", "|", ">x", "'it", 'say "hi', "a'b", "it's", "=", "a=b=c", "<<", "x, y", "C:\\a\\b",
    "Фото", "50%", "\u007fx", "photos [v2]", "\udcff.jpg", "'a' and 'b'", ".inf", "-", "0",
]  # fmt: skip


def recipe_of(folder: Path, text: str = "") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text or "data: {source: digits}\nobjective: {name: simclr}\n")
    return path


@pytest.mark.parametrize("text", TYPED)
def test_a_text_is_what_was_typed(tmp_path: Path, text: str) -> None:
    words = [f"{key}={text}" for key in ("data.source", "tracking.experiment", "description")]
    words += [f"tracking.tags.git={text}", f"evaluation.select={text}"]
    experiment = load(recipe_of(tmp_path), words)
    held = [experiment.data.source, experiment.tracking.experiment, experiment.description]
    held += [experiment.tracking.tags["git"], experiment.evaluation.select]
    assert held == [text] * 5
    assert {type(one) for one in held} == {str}


@pytest.mark.parametrize(
    "text", [*TYPED, " a ", "", "a\nb", "\x00", "\x85\u2028\U0001f990", "'a'", '"a"']
)
def test_a_text_in_a_mapping_is_that_text(text: str) -> None:
    tree = {"data.source": text, "tracking": {"register_as": text, "tags": {"a": text}}}
    for recipe in ("digits", manta.load_recipe("digits")):
        experiment = manta.load_recipe(recipe, tree, progress=False)
        assert experiment.data.source == text
        assert experiment.tracking.register_as == text
        assert dict(experiment.tracking.tags) == {"a": text}
    assert manta.load_recipe("digits", data=text).data.source == text


@pytest.mark.parametrize("text", [one for one in TYPED if one.isprintable()])
def test_a_text_is_read_back_from_what_is_written(tmp_path: Path, text: str) -> None:
    experiment = load(recipe_of(tmp_path), [f"data.source={text}"])
    written = experiment.to_yaml()
    assert from_mapping(yaml.safe_load(written)) == experiment
    if "${train" not in text:  # which is a reference where it stands in a file
        assert load(recipe_of(tmp_path, written)) == experiment


def test_quotes_around_a_text_are_not_part_of_it(tmp_path: Path) -> None:
    words = ["data.source='a # b'", 'tracking.experiment="a\\tb"', "description=' x '  "]
    experiment = load(recipe_of(tmp_path), words)
    assert (experiment.data.source, experiment.tracking.experiment) == ("a # b", "a\tb")
    assert experiment.description == " x "


@pytest.mark.parametrize("word", ["null", "~", "", "NULL"])
def test_a_text_that_can_be_null_is_null(tmp_path: Path, word: str) -> None:
    experiment = load(recipe_of(tmp_path), ["data.cache_dir=x", f"data.cache_dir={word}"])
    assert experiment.data.cache_dir is None
    assert load(recipe_of(tmp_path), ["data.cache_dir='null'"]).data.cache_dir == "null"
    assert load(recipe_of(tmp_path), ["data.cache_dir=#1"]).data.cache_dir == "#1"
    assert manta.load_recipe("digits", {"data.cache_dir": None}).data.cache_dir is None


def test_none_is_no_text() -> None:
    with pytest.raises(ConfigError, match=r"tracking.experiment: .*valid string \(got None\)"):
        manta.load_recipe("digits", {"tracking.experiment": None})


def test_texts_in_a_file_are_what_was_written(tmp_path: Path) -> None:
    text = """
description: 2024
data: {source: on, cache_dir: ~}
objective: {name: simclr}
tracking:
  experiment: 1e3
  register_as: [raw]
  tags: {a: yes, b: 1.10, 7: null}
"""
    experiment = load(recipe_of(tmp_path, text))
    assert (experiment.description, experiment.data.source) == ("2024", "on")
    assert (experiment.data.cache_dir, experiment.tracking.register_as) == (None, "[raw]")
    assert experiment.tracking.experiment == "1e3"
    assert dict(experiment.tracking.tags) == {"a": "yes", "b": "1.10", "7": "null"}


def test_other_settings_are_read_as_before(tmp_path: Path) -> None:
    words = [
        "train.compile=on", "train.clip=null", "data.limit=1e2", "views.crop_scale=[.3, 1]",
        "encoder.args={a: [x, 2, null], b: on, c: 1e-3}", "resources.gpu=off",
        "encoder.args.d=plain # not",
    ]  # fmt: skip
    experiment = load(recipe_of(tmp_path), words)
    assert (experiment.train.compile, experiment.train.clip) == (True, None)
    assert (experiment.data.limit, experiment.views.crop_scale) == (100, (0.3, 1.0))
    assert experiment.encoder.args == {
        "a": ["x", 2, None], "b": True, "c": 0.001, "d": "plain",
    }  # fmt: skip
    assert experiment.resources.gpu is False
    assert [type(one) for one in experiment.encoder.args.values()] == [list, bool, float, str]


@pytest.mark.parametrize(
    "word", ["encoder.args.x=@x", "train.epochs=*x", "encoder=@x", "evaluation.evaluators=@x"]
)
def test_what_is_no_text_must_be_yaml(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match="is not YAML; put quotes around it") as caught:
        load(recipe_of(tmp_path), [word])
    assert word in str(caught.value)


def test_of_two_words_for_a_text_the_later_one_counts(tmp_path: Path) -> None:
    for first in ("{a}", "[a]", "@x", "on", "x"):
        for second in ("{b}", "[b]", "*y", "no", "y"):
            words = [f"data.source={first}", f"data.source={second}"]
            assert load(recipe_of(tmp_path), words).data.source == second


def test_references_are_for_files_and_name_a_section(tmp_path: Path) -> None:
    text = """
description: "${objective.name} for ${train.epochs}, in ${HOME} and ${x"
data: {source: "${HOME}/${x}/a"}
objective: {name: simclr}
tracking: {experiment: "${.tags.a}", tags: {a: "${oc.env:MANTA_TEST_UNSET,b}", c: "${x:-y}"}}
"""
    experiment = load(recipe_of(tmp_path, text), ["train.epochs=9"])
    assert experiment.description == "simclr for 9, in ${HOME} and ${x"
    assert experiment.data.source == "${HOME}/${x}/a"
    assert experiment.tracking.experiment == "b"
    assert dict(experiment.tracking.tags) == {"a": "b", "c": "${x:-y}"}


def test_a_reference_may_be_typed_where_a_number_is_wanted(tmp_path: Path) -> None:
    words = ["watch.every=${train.epochs}", "train.epochs=9", "data.source=${train.epochs}"]
    experiment = load(recipe_of(tmp_path), words)
    assert (experiment.watch.every, experiment.data.source) == (9, "${train.epochs}")
    assert isinstance(experiment, Experiment)
