"""Schedules against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from manta.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Infinite,
    Linear,
    Scheduled,
    WarmupStableDecay,
    value_of,
)


def test_cosine_is_at_start_half_and_end():
    schedule = Cosine(start=2.0, end=1.0)
    assert schedule.value(0, 100) == 2.0
    assert schedule.value(50, 100) == pytest.approx(1.5)
    assert schedule.value(25, 100) == pytest.approx(1 + (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.value(100, 100) == pytest.approx(1.0)


def test_warmup_climbs_in_equal_steps_and_reaches_the_peak_on_its_last_step():
    schedule = Linear(start=1.0, end=0.0, warmup=4)
    assert [schedule.value(step, 14) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert schedule.value(4, 14) == 1.0
    assert schedule.value(9, 14) == pytest.approx(0.5)


def test_whole_durations_are_steps_and_fractions_are_of_the_run():
    assert Constant(warmup=10).value(4, 1000) == pytest.approx(0.5)
    assert Constant(warmup=0.01).value(4, 1000) == pytest.approx(0.5)


def test_stable_phase_then_decay():
    schedule = WarmupStableDecay(start=1.0, end=0.0, decay=10)
    assert schedule.value(90, 100) == 1.0
    assert schedule.value(95, 100) == pytest.approx(0.5)
    assert schedule.value(100, 100) == 0.0


def test_infinite_has_four_phases():
    schedule = Infinite(start=1.0, level=0.4, end=0.1, warmup=10, cooldown=20, anneal=10)
    assert schedule.value(9, 110) == pytest.approx(1.0)
    assert schedule.value(20, 110) == pytest.approx(0.7)
    assert schedule.value(30, 110) == pytest.approx(0.4)
    assert schedule.value(99, 110) == pytest.approx(0.4)
    assert schedule.value(105, 110) == pytest.approx(0.25)


def test_a_longer_infinite_run_does_not_change_its_past():
    schedule = Infinite(warmup=5, cooldown=20, anneal=10)
    assert [schedule.value(s, 100) for s in range(90)] == [
        schedule.value(s, 500) for s in range(90)
    ]


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    warmup=st.one_of(st.integers(0, 50), st.floats(0, 1)),
    step=st.integers(0, 400),
    total=st.integers(1, 300),
)
def test_values_stay_between_the_levels(name, warmup, step, total):
    assert -1e-9 <= SCHEDULES[name](warmup=warmup).value(step, total) <= 1 + 1e-9


def test_a_scheduled_field_takes_a_number_or_a_schedule():
    adapter = TypeAdapter(Scheduled)
    assert value_of(adapter.validate_python(0.2), 5, 10) == 0.2
    scheduled = adapter.validate_python({"name": "linear", "start": 0.0, "end": 1.0})
    assert value_of(scheduled, 5, 10) == pytest.approx(0.5)
    assert adapter.dump_python(scheduled)["name"] == "linear"
    with pytest.raises(ValidationError, match="sinus"):
        adapter.validate_python({"name": "sinus"})
