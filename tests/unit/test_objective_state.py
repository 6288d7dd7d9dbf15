"""Objectives' state and draws: queues, per-sample tables, numbers keyed by sample and step."""

from __future__ import annotations

import copy
import io
import os

import numpy as np
import pytest
import torch
from scipy import stats

from manta.batch import Progress
from manta.errors import ConfigError
from manta.objectives import (
    Queue,
    SampleTable,
    SampleValues,
    keyed_beta,
    keyed_order,
    keyed_uniform,
)

NOW = Progress(step=3, total_steps=10, seed=5)


def test_a_queue_keeps_the_newest_rows_in_a_ring() -> None:
    queue = Queue(5, 2)
    assert torch.allclose(queue.rows.norm(dim=1), torch.ones(5))
    for start in (0, 3):
        queue.push(torch.arange(start, start + 3.0).unsqueeze(1).expand(-1, 2))
    assert queue.rows[:, 0].tolist() == [5, 1, 2, 3, 4]
    assert (int(queue.place), int(queue.filled)) == (1, 5)


def test_more_rows_than_a_queue_holds_leave_the_last() -> None:
    queue = Queue(3, 1)
    places = queue.push(torch.arange(7.0).unsqueeze(1))
    assert sorted(queue.rows[:, 0].tolist()) == [4, 5, 6]
    assert queue.rows[places, 0].tolist() == [4, 5, 6]


def test_a_table_remembers_by_index_and_survives_a_restart() -> None:
    table = SampleTable(1_000, 2, initial=[0.5, 0.0])
    assert table.read(torch.tensor([999])).tolist() == [[0.5, 0.0]]
    table.write(torch.tensor([7, 3]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert table.read(torch.tensor([3, 7, 8])).tolist() == [[3, 4], [1, 2], [0.5, 0]]
    file = io.BytesIO()
    torch.save(table.state_dict(), file)
    file.seek(0)
    other = SampleTable(1_000, 2, initial=[0.5, 0.0])
    other.load_state_dict(torch.load(file, weights_only=True))
    twin = copy.deepcopy(table)
    table.write(torch.tensor([3]), torch.zeros(1, 2))
    for same in (other, twin):
        assert same.read(torch.tensor([3])).tolist() == [[3, 4]]
    with pytest.raises(RuntimeError, match="does not fit"):
        SampleTable(10, 2).load_state_dict(other.state_dict())


def test_a_table_of_a_hundred_million_samples_takes_no_memory_before_it_is_touched() -> None:
    table = SampleTable(100_000_000, 2, initial=0.1)
    table.write(torch.tensor([99_999_999]), torch.tensor([[1.0, 2.0]]))
    assert table.read(torch.tensor([99_999_999, 5]))[0].tolist() == [1, 2]
    with open("/proc/self/smaps_rollup") as file:
        shared = next(int(line.split()[1]) for line in file if line.startswith("Shared_Dirty"))
        assert shared < 100_000  # kB


def test_a_tables_state_is_what_was_written() -> None:
    """However many samples there are; loading or copying it does not fill the file's holes."""
    table, other = (SampleTable(20_000_000, 2, initial=0.25) for _ in range(2))
    index = torch.tensor([19_999_999, 3, 1 << 20, (1 << 20) - 1])
    table.write(index, torch.arange(8.0).view(4, 2))
    table.write(index[:1], torch.tensor([[8.0, 9.0]]))
    other.write(torch.tensor([4]), torch.ones(1, 2))
    state = table.state_dict()["_extra_state"]
    assert (state["values"] + 0.25).tolist() == [[2, 3], [6, 7], [4, 5], [8, 9]]
    assert state["written"].nbytes == 2_500_000
    other.load_state_dict(table.state_dict())
    for same in (other, copy.deepcopy(table)):
        assert torch.equal(same.read(index), table.read(index))
        # As if it had never been written.
        assert same.read(torch.tensor([4])).tolist() == [[0.25, 0.25]]
        assert torch.equal(same.state_dict()["_extra_state"]["written"], state["written"])
        assert os.stat(same._file.name).st_blocks * 512 < 1_000_000


def test_a_table_that_no_disk_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="set TMPDIR to a larger disk"):
        SampleTable(1 << 50, 64)


def test_a_table_of_values_is_read_by_index(tmp_path) -> None:
    np.save(tmp_path / "t.npy", np.arange(10, dtype=np.int32) * 10)
    values = SampleValues(tmp_path / "t.npy")
    assert len(values) == 10
    assert values[torch.tensor([3, 9, 3])].tolist() == [30, 90, 30]


def test_keyed_numbers_follow_samples_and_not_places() -> None:
    index = torch.tensor([5, 900, 17])
    drawn = keyed_uniform(index, NOW, 4)
    assert torch.equal(keyed_uniform(index.flip(0), NOW, 4), drawn.flip(0))
    assert torch.equal(keyed_uniform(index[1:2], NOW, 4), drawn[1:2])
    others = [
        keyed_uniform(index, NOW, 4, salt=1),
        keyed_uniform(index, Progress(4, 10, 5), 4),
        keyed_uniform(index, Progress(3, 10, 6), 4),
    ]
    assert all((drawn - other).abs().min() > 0 for other in others)


def test_keyed_numbers_are_uniform_and_unrelated() -> None:
    drawn = keyed_uniform(torch.arange(20_000), NOW, 3).numpy()
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.03
    assert 0 < drawn.min() < drawn.max() < 1


def test_keyed_beta_has_its_distribution() -> None:
    drawn = keyed_beta(torch.arange(20_000), NOW, 1, alpha=0.4).numpy()[:, 0]
    assert stats.kstest(drawn, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_partners_are_another_sample_and_follow_the_samples() -> None:
    index = torch.tensor([5, 900, 17, 3, 44])
    order = keyed_order(index, NOW)
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]
    partner = dict(zip(index.tolist(), index[order].tolist(), strict=True))
    assert all(one != other for one, other in partner.items())
    shuffled = index[torch.tensor([3, 0, 4, 2, 1])]
    assert (
        dict(zip(shuffled.tolist(), shuffled[keyed_order(shuffled, NOW)].tolist(), strict=True))
        == partner
    )
