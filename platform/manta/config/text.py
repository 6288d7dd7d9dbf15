"""YAML as Manta reads it, in recipes and in the values of overrides.

YAML 1.1, which PyYAML reads, takes `1e-3` for text, `010` for 8 and `12:30` for 750. Here every
form of a number that Python knows is that number, and anything else is text.

Where a setting is a text, a value stands for the characters that were written: a folder `2024_11`,
`on`, `[raw]` or `*.parquet`, a tag `1.10`. So values remember them until it is known which setting
they are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import yaml

from manta.errors import ConfigError

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


class Written:
    """A value of YAML that is no text, and the text that it was written as."""

    text: str = ""


class WrittenInt(int, Written):
    """An integer."""


class WrittenFloat(float, Written):
    """A float."""


class WrittenBool(int, Written):
    """A truth value: `on`, `yes`, `true` and their opposites."""


class WrittenNull(Written):
    """Null: `null`, `~`, or a comment alone."""

    NAMES = ("null", "Null", "NULL", "~", "")

    @property
    def is_tagged(self) -> bool:
        """Whether it is null for every setting."""
        return self.text.startswith("!!null")

    @property
    def is_meant(self) -> bool:
        """Whether it is null where a text can be null, and not a text such as `#1`."""
        return self.text in self.NAMES or self.is_tagged


class WrittenMap(dict[Any, Any], Written):
    """A mapping on one line, in braces."""


class WrittenList(list[Any], Written):
    """A list on one line, in brackets."""


class WrittenText(str, Written):
    """A text of an override; `text` has what YAML drops, such as ` # b` of `a # b`."""


class NotYaml(Written):
    """A value of an override that YAML cannot read, such as `*.parquet`; a text may be so."""

    def __init__(self, word: str, text: str) -> None:
        self.word = word
        self.text = text

    def error(self) -> ConfigError:
        """Return the error of a setting that is no text."""
        return ConfigError(
            f"override {self.word!r} has a value that is not YAML; put quotes around it"
        )


class Blank(str):
    """The value of `key=`: null for a setting that can be null, as in YAML, else an empty text."""


BLANK = Blank()


class Verbatim(str):
    """A text in which `${section.key}` is no reference, since it was typed as an override."""


W = TypeVar("W", bound=Written)


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
    """The same, with values that remember how they were written."""

    def construct_number(self, node: yaml.ScalarNode) -> WrittenInt | WrittenFloat:
        """Return a number with the characters of the scalar."""
        if node.tag.endswith(":int"):
            return _as_written(WrittenInt(self.construct_integer(node)), node)
        return _as_written(WrittenFloat(self.construct_yaml_float(node)), node)

    def construct_truth(self, node: yaml.ScalarNode) -> WrittenBool:
        """Return a truth value with the characters of the scalar."""
        return _as_written(WrittenBool(self.construct_yaml_bool(node)), node)

    def construct_nothing(self, node: yaml.ScalarNode) -> WrittenNull:
        """Return null with the characters of the scalar."""
        return _as_written(WrittenNull(), node)

    def construct_map(self, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
        """Yield a mapping, which is filled afterwards: an alias inside may be of itself."""
        mapping = _as_written(WrittenMap(), node) if node.flow_style else {}
        yield mapping
        mapping.update(self.construct_mapping(node))

    def construct_list(self, node: yaml.SequenceNode) -> Iterator[list[Any]]:
        """Yield a list, which is filled afterwards."""
        entries = _as_written(WrittenList(), node) if node.flow_style else []
        yield entries
        entries.extend(self.construct_sequence(node))


def _as_written(value: W, node: yaml.Node) -> W:
    """Return the value, which remembers the characters of its node from now on."""
    start, end = node.start_mark, node.end_mark
    value.text = node.value if isinstance(node, yaml.ScalarNode) else ""
    if start.buffer is not None and not value.text:
        value.text = start.buffer[start.pointer : end.pointer]
    return value


class NumberDumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts a text that `NumberLoader` takes for a number in quotes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the attribute of PyYAML
        first: list(resolvers)
        for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


NumberLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
NumberLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
NumberLoader.add_constructor("tag:yaml.org,2002:int", NumberLoader.construct_integer)
_CONSTRUCTORS: dict[str, Any] = {
    "int": WrittenLoader.construct_number,
    "float": WrittenLoader.construct_number,
    "bool": WrittenLoader.construct_truth,
    "null": WrittenLoader.construct_nothing,
    "map": WrittenLoader.construct_map,
    "seq": WrittenLoader.construct_list,
}
for _tag, _construct in _CONSTRUCTORS.items():
    WrittenLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct)
NumberDumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
NumberDumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def parse_yaml(text: str) -> Any:
    """Return the plain data that a YAML text holds.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=NumberLoader)


def parse_written(text: str) -> Any:
    """Return the same with values that remember their text; `plain` makes them plain again.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=WrittenLoader)


def parse_typed(word: str, text: str) -> Any:
    """Return the value of an override, with all that was typed.

    Quotes around the whole are not part of a text; blanks around it are not either.

    Args:
        word: the whole override, for an error about it.
        text: what follows its `=`.
    """
    typed = text.strip()
    if not typed:
        return BLANK
    loader = None
    try:
        loader = WrittenLoader(text)
        node = loader.get_single_node()
        value: Any = WrittenNull() if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError):
        return NotYaml(word, typed)
    finally:
        if loader is not None:
            loader.dispose()
    if type(value) is str:
        value = WrittenText(value)
        typed = str(value) if _is_quoted(node, text) else typed
    elif type(value) in (dict, list):
        value = WrittenMap(value) if type(value) is dict else WrittenList(value)
    if isinstance(value, Written):
        value.text = typed
    return value


def _is_quoted(node: yaml.Node | None, text: str) -> bool:
    """Return whether all that was typed is one text in quotes."""
    if not isinstance(node, yaml.ScalarNode) or node.style not in ("'", '"'):
        return False
    return text.strip()[0] == node.style and not text[node.end_mark.index :].strip()


def plain(value: Any) -> Any:
    """Return plain data of what `parse_written` or `parse_typed` returned.

    Raises:
        ConfigError: a value is not YAML.
    """
    match value:
        case NotYaml():
            raise value.error()
        case WrittenNull():
            return None
        case WrittenBool():
            return bool(value)
        case WrittenInt():
            return int(value)
        case WrittenFloat():
            return float(value)
        case WrittenText() | Blank() | Verbatim():
            return str(value)
        case Mapping():
            return {plain(key): plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def as_text(value: Any) -> Any:
    """Return what was written where YAML makes something else of it, and any other value as it is.

    A text of an override comes as `Verbatim`.
    """
    if not isinstance(value, Written):
        return value
    return Verbatim(value.text) if isinstance(value, (WrittenText, NotYaml)) else value.text


def is_null(value: Any) -> bool:
    """Return whether a value is null, or was written so."""
    return value is None or isinstance(value, WrittenNull)


def dump_yaml(tree: Any) -> str:
    """Return plain data as YAML, which any reader, of YAML 1.1 too, reads back to the same."""
    return yaml.dump(tree, Dumper=NumberDumper, sort_keys=False, width=110)
