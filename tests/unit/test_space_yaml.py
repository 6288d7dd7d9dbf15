"""The YAML reader that keeps lines."""

import pytest
from spaces import RATE, RECIPE

from manta.errors import ConfigError
from manta.tuning.space.parse import parse
from manta.tuning.space.read import read_space
from manta.tuning.space.yaml import read_nodes


def test_the_study_section_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "x.yaml"
    study = "study:\n  trials: 12\n  scheduler:\n    name: asha\n    max: 9\n"
    path.write_text(f"{study}space:\n  optimizer.lr: {RATE}\n")
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


def test_every_value_has_its_line_and_plain_data():
    root = read_nodes("a:\n  b: [1e-3,\n      x]\n  c: 2020-01-01\n", "y.yaml")
    assert root.value["a"]["b"] == [1e-3, "x"]
    b = root.children["a"].children["b"]
    assert (root.line, root.children["a"].line, b.line) == (1, 1, 2)
    assert [item.line for item in b.children.values()] == [2, 3]
    assert root.find("a", "c").line == 4
    assert str(root.find("a", "b", 1).error("no")) == "y.yaml:3: no"


def test_what_is_not_there_is_found_at_the_nearest_section():
    root = read_nodes("a:\n  b:\n    c: 1\n", "y.yaml")
    assert root.find("a", "b", "d", "e") is root.children["a"].children["b"]
    assert root.find("z") is root


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("-2E3", -2000.0), ("1.5e+2", 150.0), ("1e", "1e"), (".inf", float("inf"))],
)
def test_numbers_are_those_of_yaml_1_2(text, value):
    read = read_nodes(f"a: {text}\n", "y.yaml").value["a"]
    assert read == value
    assert type(read) is type(value)


def test_a_key_that_is_no_word_is_refused():
    with pytest.raises(ConfigError, match=r"^y.yaml:2: a key must be a word or a number$"):
        read_nodes("a: 1\n? [b, c]\n: 2\n", "y.yaml")


@pytest.mark.parametrize(("written", "text"), [("2024", "2024"), ("", ""), ("a  b", "a b")])
def test_a_description_is_text(written, text):
    rate = "{type: float, low: 1e-4, high: 1e-2}"
    nodes = read_nodes(f"description: {written}\nspace: {{optimizer.lr: {rate}}}\n", "x.yaml")
    assert parse(nodes)[0].description == text
