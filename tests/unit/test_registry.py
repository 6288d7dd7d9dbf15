"""Names, hints and double registration."""

import pytest

from manta.errors import ConfigError
from manta.registry import Registry


def test_a_component_is_found_by_its_name_and_listed_in_order():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("b")(int)
    registry.register("a")(float)
    assert registry["a"] is float
    assert list(registry) == ["a", "b"]
    assert "b" in registry
    assert "c" not in registry


def test_a_near_miss_gets_a_hint():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("barlow_twins")(int)
    with pytest.raises(
        ConfigError, match="no thing is named 'barlow_twin'; did you mean 'barlow_twins'"
    ):
        registry["barlow_twin"]


def test_a_taken_name_is_refused():
    registry: Registry[object] = Registry("things", "manta.views")
    registry.register("a")(int)
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register("a")(float)
