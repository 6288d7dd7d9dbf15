"""The gate between the workers of a trial and the trial itself, without the actor around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import pytest

from manta.errors import RunError
from manta.training.task import Rung
from manta.tuning.trials.group import Gate


def test_a_worker_waits_for_the_answer_to_its_rung() -> None:
    gate, rung = Gate(), Rung(5, {"knn_top1": 0.5})
    with ThreadPoolExecutor(1) as worker:
        for go_on in (True, False):
            asked = worker.submit(gate.ask, rung)
            assert gate.next() == rung
            with pytest.raises(NotYet):
                asked.result(timeout=0.05)
            gate.answer(go_on)
            assert asked.result(timeout=5) is go_on


@pytest.mark.parametrize("reason", [None, RunError("a worker failed")])
def test_the_end_comes_after_the_rungs(reason: Exception | None) -> None:
    gate = Gate()
    with ThreadPoolExecutor(1) as worker:
        asked = worker.submit(gate.ask, Rung(5, {}))
        assert gate.next() == Rung(5, {})
        gate.answer(True)
        assert asked.result(timeout=5)
    gate.end(reason)
    assert gate.next() == ("end", reason)
