"""YAML as Manta reads it, in recipes and in the values of overrides.

YAML 1.1, which PyYAML reads, takes `1e-3` for text, `010` for 8 and `12:30` for 750. Here every
form of a number that Python knows is that number, and anything else is text.
"""

from __future__ import annotations

import re
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


NumberLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
NumberLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
NumberLoader.add_constructor("tag:yaml.org,2002:int", NumberLoader.construct_integer)


def parse_yaml(text: str) -> Any:
    """Return the plain data that a YAML text holds.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=NumberLoader)
