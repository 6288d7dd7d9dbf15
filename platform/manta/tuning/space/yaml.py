"""YAML that remembers where everything stood, for errors that point at a line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from manta.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place.

    Attributes:
        line: of the value's key where it has one, from 1.
        value: plain data.
        children: what a mapping holds by key, or a list by position; empty for all else.
    """

    file: str
    line: int
    value: Any
    children: dict[Any, Node] = field(default_factory=dict)

    def error(self, message: str) -> ConfigError:
        """`file:line: message`."""
        return ConfigError(f"{self.file}:{self.line}: {message}")


class _Loader(yaml.SafeLoader):
    """Reads `1e-4` as a number, as YAML 1.2 does; PyYAML wants `1.0e-4`."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), None
)


def read(path: Path) -> Node:
    """The file as a tree of nodes.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has a key twice.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{path}:1: is empty; it needs a section `space`")
        return _node(loader, root, str(path), 1, above=())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{path}:{line}: is not valid YAML: {' '.join(problem.split())}"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()


def _node(
    loader: _Loader, node: yaml.Node, file: str, line: int, above: tuple[yaml.Node, ...]
) -> Node:
    here = Node(file, line, None)
    if any(node is outer for outer in above):
        raise here.error("holds itself by an alias")
    children: dict[Any, Node] = {}
    if isinstance(node, yaml.MappingNode):
        for key_node, item in node.value:
            at = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise Node(file, at, None).error("a key must be a word or a number")
            key = loader.construct_object(key_node)
            if key in children:
                raise Node(file, at, None).error(
                    f"{key}: given twice; the first is on line {children[key].line}"
                )
            children[key] = _node(loader, item, file, at, (*above, node))
        return Node(file, line, {key: child.value for key, child in children.items()}, children)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            children[position] = _node(loader, item, file, item.start_mark.line + 1, (*above, node))
        return Node(file, line, [child.value for child in children.values()], children)
    return Node(file, line, loader.construct_object(node))
