"""Reader of YAML that keeps the line of every value, for errors that point at it.

PyYAML's nodes have the marks; ruamel.yaml, which has them too, is no dependency of Manta.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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

    def find(self, *keys: Any) -> Node:
        """Return the node below at these keys, or the nearest one around it."""
        node = self
        for key in keys:
            if key not in node.children:
                break
            node = node.children[key]
        return node

    def error(self, message: str) -> ConfigError:
        """Return the error `file:line: message`."""
        return ConfigError(f"{self.file}:{self.line}: {message}")


class _Loader(yaml.SafeLoader):
    """Loader that reads `1e-4` as a number, as YAML 1.2 does; PyYAML wants `1.0e-4`."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), None
)


def read_nodes(text: str, file: str) -> Node:
    """Return YAML text as a tree of nodes.

    Args:
        file: name for errors.

    Raises:
        ConfigError: the text is not YAML, is empty, or has a key twice.
    """
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{file}:1: is empty; it needs a section `space`")
        return _Reader(loader, file).node(root, 1, above=())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{file}:{line}: is not valid YAML: {problem}") from None
    finally:
        if loader is not None:
            loader.dispose()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Walk from PyYAML's nodes, which have marks, to ours."""

    loader: _Loader
    file: str

    def node(self, node: yaml.Node, line: int, above: tuple[yaml.Node, ...]) -> Node:
        """Return a node; `above` are those that hold it, since an alias can make a circle."""
        if any(node is outer for outer in above):
            raise Node(self.file, line, None).error("holds itself by an alias")
        inside = (*above, node)
        if isinstance(node, yaml.MappingNode):
            children = self._mapping(node, inside)
            values = {key: child.value for key, child in children.items()}
            return Node(self.file, line, values, children)
        if isinstance(node, yaml.SequenceNode):
            items = [self.node(item, item.start_mark.line + 1, inside) for item in node.value]
            return Node(self.file, line, [item.value for item in items], dict(enumerate(items)))
        return Node(self.file, line, self.loader.construct_object(node))

    def _mapping(self, node: yaml.MappingNode, inside: tuple[yaml.Node, ...]) -> dict[Any, Node]:
        children: dict[Any, Node] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line + 1
            here = Node(self.file, line, None)
            if not isinstance(key_node, yaml.ScalarNode):
                raise here.error("a key must be a word or a number")
            key = self.loader.construct_object(key_node)
            if key in children:
                first = children[key].line
                raise here.error(f"{key}: given twice; the first is on line {first}")
            children[key] = self.node(item, line, inside)
        return children
