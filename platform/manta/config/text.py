"""YAML as Manta reads it, in recipes and in the values of overrides.

YAML 1.1, which PyYAML reads, takes `1e-3` for text, `010` for 8 and `12:30` for 750. Here every
form of a number that Python knows is that number, and anything else is text.

Where a setting is a text, a number stands for the characters that were written: a folder
`2024_11`, a tag `1.10`. So numbers remember them until it is known which setting they are for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_INT = re.compile(r"[-+]?(?:[0-9][0-9_]*|0[xX][0-9a-fA-F_]+)$")
_FLOAT = re.compile(
    r"[-+]?(?:"
    r"[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))$"
    r"|\.(?:nan|NaN|NAN)$"
)
_REPLACED = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


class WrittenInt(int):
    """An integer, and the text that it was written as."""

    text: str


class WrittenFloat(float):
    """A float, and the text that it was written as."""

    text: str


class Blank(str):
    """The value of `key=`: null for a setting that can be null, as in YAML, else an empty text."""


BLANK = Blank()


class NumberLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers of Python, and with dates left as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the attribute of PyYAML
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return the integer that a scalar writes; a leading zero is no octal number."""
        digits = str(self.construct_scalar(node)).replace("_", "")
        return int(digits, 16 if "x" in digits.lower() else 10)


class WrittenLoader(NumberLoader):
    """The same, with numbers that remember how they were written."""

    def construct_written(self, node: yaml.ScalarNode) -> WrittenInt | WrittenFloat:
        """Return a number with the characters of the scalar."""
        if node.tag.endswith(":int"):
            number: Any = WrittenInt(self.construct_integer(node))
        else:
            number = WrittenFloat(self.construct_yaml_float(node))
        number.text = str(self.construct_scalar(node))
        return number  # type: ignore[no-any-return]


class NumberDumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts a text that `NumberLoader` takes for a number in quotes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the attribute of PyYAML
        first: list(resolvers)
        for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


NumberLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
NumberLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
NumberLoader.add_constructor("tag:yaml.org,2002:int", NumberLoader.construct_integer)
for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    WrittenLoader.add_constructor(_tag, WrittenLoader.construct_written)
NumberDumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
NumberDumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def parse_yaml(text: str) -> Any:
    """Return the plain data that a YAML text holds.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=NumberLoader)


def parse_written(text: str) -> Any:
    """Return the same with numbers that remember their text; `plain` makes them numbers.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=WrittenLoader)


def plain(value: Any) -> Any:
    """Return plain data of what `parse_written` returned: numbers without their text."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (WrittenInt, Blank)):
        return int(value) if isinstance(value, WrittenInt) else ""
    return float(value) if isinstance(value, WrittenFloat) else value


def as_text(value: Any) -> Any:
    """Return what was written where it was a number; anything else is returned as it is."""
    return value.text if isinstance(value, (WrittenInt, WrittenFloat)) else value


def dump_yaml(tree: Any) -> str:
    """Return plain data as YAML, which any reader, of YAML 1.1 too, reads back to the same."""
    return yaml.dump(tree, Dumper=NumberDumper, sort_keys=False, width=110)
