"""Where a run's time goes, on a clock that the test moves."""

import pytest

from manta.training import clock
from manta.training.clock import Clock


class Hands:
    """Time that passes when it is told to."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_000.0 + self.now


@pytest.fixture
def hands(monkeypatch):
    hands = Hands()
    monkeypatch.setattr(clock, "time", hands)
    return hands


def a_step(hands: Hands, measured: Clock, *, wait: float, work: float, images: int = 64) -> None:
    hands.now += wait
    measured.batch_ready()
    hands.now += work
    measured.stepped()
    measured.step_done(images)


def test_the_first_step_counts_from_the_commands_start_and_in_no_rate(hands):
    measured = Clock(started=1_090.0)
    a_step(hands, measured, wait=5.0, work=2.0)
    assert measured.first_step == pytest.approx(17.0)
    assert measured.rates() == {}
    assert measured.summary() == {
        "images_per_second": None,
        "input_wait_fraction": None,
        "first_step_seconds": pytest.approx(17.0),
    }
    a_step(hands, measured, wait=0.5, work=1.5)
    assert measured.first_step == pytest.approx(17.0)


def test_rates_are_of_the_steps_that_follow(hands):
    measured = Clock(started=1_100.0)
    for _ in range(4):
        a_step(hands, measured, wait=0.5, work=1.5)
    assert measured.images == 3 * 64
    assert measured.rates() == {
        "images_per_second": pytest.approx(32.0),
        "input_wait_fraction": pytest.approx(0.25),
    }


def test_evaluations_are_away_and_in_no_rate(hands):
    measured = Clock(started=1_100.0)
    a_step(hands, measured, wait=0.0, work=1.0)
    hands.now += 1.0
    measured.batch_ready()
    hands.now += 1.0
    with measured.paused():
        hands.now += 10.0
    measured.step_done(64)
    assert (measured.away, measured.busy, measured.waited) == (10.0, 2.0, 1.0)
    assert measured.rates()["images_per_second"] == pytest.approx(32.0)


def test_time_between_steps_that_was_anothers_is_left_out(hands):
    measured = Clock(started=1_100.0)
    a_step(hands, measured, wait=0.0, work=1.0)
    hands.now += 500.0
    measured.go_on()
    a_step(hands, measured, wait=1.0, work=1.0)
    assert (measured.busy, measured.waited) == (2.0, 1.0)
