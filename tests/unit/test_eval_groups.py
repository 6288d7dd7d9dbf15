"""Evaluation of rows in groups: nothing of a group is on both sides of any split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manta.data import Holdout, Manifest, Shard
from manta.data.groups import in_order, write_groups
from manta.evaluation.rows import JointGroups, SplitRows
from manta.evaluators import (
    EvaluatorConfig,
    Features,
    LabelCounts,
    build,
    evaluate_all,
    missing_input,
)
from manta.evaluators._groups import fold_of_group, held_out_part
from manta.evaluators.fewshot import FewShotConfig
from manta.evaluators.knn import KNNConfig
from manta.evaluators.leave_group_out import LeaveGroupOutConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.linear_sgd import LinearSGDConfig
from manta.evaluators.risk import RiskConfig
from manta.files import Place

GROUPS, SEGMENTS, WIDTH = 60, 12, 128


def recordings() -> tuple[Tensor, Tensor, Tensor]:
    """Segments of recordings that are alike, and labels that nothing but the recording tells."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(GROUPS, WIDTH, generator=generator)
    groups = torch.arange(GROUPS).repeat_interleave(SEGMENTS)
    noise = torch.randn(len(groups), WIDTH, generator=generator)
    return centres[groups] + 0.1 * noise, groups % 2, groups


def split(folder: str, *, whole: bool) -> Features:
    """The features of bank and queries by the split that a run uses."""
    x, y, groups = recordings()
    runs = [(f"recording {number}", SEGMENTS) for number in range(GROUPS)]
    write_groups(Place(folder), in_order([runs]))
    manifest = Manifest(
        location=folder,
        rows=len(x),
        labelled=True,
        classes=None,
        shards=[Shard("0.parquet", len(x), [len(x)], 0)],
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
        kind="",
        quarantined=0,
        digest=folder,
        bytes=0,
        groups=GROUPS if whole else 0,
    )
    holdout = Holdout(manifest, 0.25)
    rows = [SplitRows(manifest, holdout, part, 10_000) for part in ("bank", "queries")]
    bank, queries = (torch.from_numpy(one.indexes) for one in rows)
    joint = JointGroups.of(*rows, bank.numpy(), queries.numpy())
    if joint.bank is not None:
        assert torch.equal(joint.bank, groups[bank])
    return Features(x[bank], x[queries], y[bank], y[queries], None, 1000, *joint.fields)


@pytest.mark.parametrize(
    ("config", "metric"),
    [
        (KNNConfig(k=(1,)), "knn"),
        (LinearConfig(), "linear_top1"),
        (LinearSGDConfig(epochs=10), "linear_sgd_top1"),
        (FewShotConfig(way=2, shots=(5,), episodes=50), "fewshot5"),
    ],
)
def test_what_only_the_group_tells_is_chance_where_groups_are_whole(
    config: EvaluatorConfig, metric: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    torn, whole = (
        build(config).mean_scores(split(str(tmp_path_factory.mktemp("data")), whole=one))
        for one in (False, True)
    )
    name = next(key for key in whole if key.startswith(metric))
    if "fewshot" not in metric:  # few rows are of few recordings, also where groups are torn
        assert torn[name] > 0.95
    assert 0.25 < whole[name] < 0.75


def test_groups_left_out_are_at_chance_too(tmp_path: str) -> None:
    features = split(str(tmp_path), whole=True)
    evaluator = build(LeaveGroupOutConfig(l2=(0.1,)))
    found = evaluator.mean_scores(features)
    assert 0.3 < found["leave_group_out_top1"] < 0.7
    folds = [found[f"leave_group_out_fold_{n}_top1"] for n in range(1, 11)]
    assert found["leave_group_out_top1"] == pytest.approx(np.mean(folds))
    assert found["leave_group_out_std"] == pytest.approx(np.std(folds))
    assert len(found) == 12
    note = evaluator.label_note(features.label_counts)
    assert note == "60 groups are left out in 10 folds, each group whole"


def test_each_group_is_scored_by_a_probe_that_has_not_seen_it() -> None:
    """Labels that hold for all groups but one, where they are the other way round."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(300, 4, generator=generator)
    groups = torch.arange(300) % 5
    y = (x[:, 0] > 0).long()
    y[groups == 3] = 1 - y[groups == 3]
    names = ("ann", "bo b", "bo_b", "odd/one", "eve")
    features = Features(
        x[:200], x[200:], y[:200], y[200:], None, 1000, groups[:200], groups[200:], names
    )
    found = build(LeaveGroupOutConfig()).mean_scores(features)
    assert set(found) == {
        "leave_group_out_top1",
        "leave_group_out_std",
        *(f"leave_group_out_{name}_top1" for name in ("ann", "bo_b", "bo_b_2", "odd_one", "eve")),
    }
    assert found["leave_group_out_odd_one_top1"] < 0.1
    others = [found[f"leave_group_out_{name}_top1"] for name in ("ann", "bo_b", "bo_b_2", "eve")]
    assert min(others) > 0.85
    assert build(LeaveGroupOutConfig()).label_note(features.label_counts) is None


def test_rows_without_a_label_or_a_group_are_not_scored() -> None:
    x, y, groups = recordings()
    names = tuple(f"g{number}" for number in range(GROUPS))
    few = groups < 6
    features = Features(x[few], x[:0], y[few], y[:0], None, 9, groups[few], groups[:0], names)
    expected = evaluate_all([build(LeaveGroupOutConfig())], features)
    assert len(expected) == 8
    noise, none = torch.randn(40, WIDTH), torch.full((40,), -1)
    more = replace(
        features,
        queries=noise,
        query_labels=none,
        query_groups=torch.arange(40) % 6,
    )
    assert evaluate_all([build(LeaveGroupOutConfig())], more) == expected
    alone = replace(features, queries=x[:40], query_labels=y[:40], query_groups=none)
    assert evaluate_all([build(LeaveGroupOutConfig())], alone).keys() == expected.keys()


def test_what_is_lacking_is_one_line() -> None:
    x, y, groups = recordings()
    evaluator = build(LeaveGroupOutConfig())
    said = missing_input(evaluator, Features(x, x, y, y))
    assert said == (
        "two groups of rows, and there are none; say by data.group what belongs together"
    )
    one = torch.zeros(len(x), dtype=torch.int64)
    assert "there are 1;" in str(
        missing_input(evaluator, Features(x, x, y, y, None, 9, one, one, ("a",)))
    )
    assert missing_input(evaluator, Features(x, x, None, None, None, 9, groups, groups)) == "labels"
    counts = LabelCounts({0: 5, 1: 5}, {0: 1}, 10, 1, groups=2)
    assert evaluator.missing_labels(counts) is None


@given(st.lists(st.integers(-1, 8), min_size=1, max_size=80), st.floats(0.05, 0.9))
@settings(max_examples=200, deadline=None)
def test_parts_of_a_bank_keep_groups_whole(numbers: list[int], fraction: float) -> None:
    groups = torch.tensor(numbers)
    every = torch.arange(len(groups))
    held, rest = (every[one] for one in held_out_part(groups, len(groups), fraction))
    assert torch.equal(torch.cat([held, rest]).sort().values, torch.arange(len(groups)))
    names = set(numbers) - {-1}
    if len(names) + numbers.count(-1) > 1:
        assert len(held)
        assert len(rest)
        assert not (set(groups[held].tolist()) - {-1}) & (set(groups[rest].tolist()) - {-1})
    alone = torch.full((len(groups),), -1)
    (one, _), (other, _) = (held_out_part(g, len(groups), 0.5) for g in (None, alone))
    if len(groups) > 1:
        assert torch.equal(torch.arange(len(groups))[one], torch.arange(len(groups))[other])


def test_folds_are_of_about_equal_size_and_groups_are_whole() -> None:
    groups = torch.cat([torch.full((n,), n) for n in range(1, 60)])
    folds = fold_of_group(groups, 10)
    assert torch.unique(folds).tolist() == list(range(10))
    assert all(len(torch.unique(folds[groups == n])) == 1 for n in range(1, 60))
    sizes = torch.bincount(folds)
    assert int(sizes.max() - sizes.min()) < 10


def test_risk_is_scored_on_groups_that_its_probe_has_not_seen(tmp_path: str) -> None:
    found = build(RiskConfig()).mean_scores(split(str(tmp_path), whole=True))
    assert found["risk_probe"] > 0.2
    assert abs(found["risk_encoder"]) < 0.35  # near 0.5 if the bank's own part were torn
