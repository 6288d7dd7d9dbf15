from __future__ import annotations

from typing import Any

from manta.config import from_mapping
from manta.tracking.card import model_card

EXPERIMENT = {
    "data": {"source": "s3://me:secret@bucket/birds", "image_size": 64},
    "encoder": {"name": "resnet18"},
    "objective": {"name": "simclr"},
    "train": {"epochs": 12.5, "batch_size": 128, "seed": 3},
}
RUN = {
    "name": "birds",
    "run_id": "0123abc",
    "created": "2026-05-05T10:00:00+00:00",
    "git_commit": "fedcba9",
    "rows": 12_345,
    "digest": "d1ge57",
    "steps": 1_205,
    "parameters": 11_176_512,
}
EVALUATION = {
    "metrics": {"knn_top1": 0.93456, "random_knn_top1": 0.4, "rankme": 41.25, "linear_l2": 0.01},
    "settings": {
        "knn": {"name": "knn", "every": None, "k": 20, "temperature": 0.1},
        "rank": {"name": "rank"},
    },
    "bank_rows": 11_111,
    "query_rows": 1_234,
    "labelled": True,
}


def card(run: dict[str, Any] = RUN, evaluation: dict[str, Any] = EVALUATION) -> str:
    return model_card(from_mapping(EXPERIMENT), run, evaluation)


def test_it_says_what_the_model_was_made_from_and_how() -> None:
    text = card()
    assert text.startswith("# birds: resnet18 by simclr\n")
    assert "| Data | s3://me:***@bucket/birds, 12,345 images, digest `d1ge57` |" in text
    assert "| Budget | 12.5 epochs, 1,205 steps, batches of 128, seed 3 |" in text
    assert "| Encoder | resnet18, 11,176,512 parameters, from random weights |" in text
    assert "| Run | `0123abc`, 2026-05-05T10:00:00+00:00 |" in text
    assert (
        "A Simple Framework for Contrastive Learning of Visual Representations (2020), arXiv:2002.05709"
        in text
    )
    assert "secret" not in text


def test_metrics_stand_beside_the_untrained_encoders_with_their_probes() -> None:
    text = card()
    assert (
        "On 1,234 images held out of training; probes learned from 11,111 training images." in text
    )
    assert "| `knn_top1` | 0.9346 | 0.4 | kNN top-1 accuracy | Higher is better. |" in text
    assert "| `rankme` | 41.25 |  | Effective rank (RankMe) | Higher is better. |" in text
    assert "| `linear_l2` | 0.01 |  | Penalty of the linear probe | A setting" in text
    assert "random_knn_top1" not in text
    assert "- knn: k 20, temperature 0.1\n" in text
    assert "- rank: defaults" in text


def test_limits_follow_from_the_run() -> None:
    assert "Trained on images of 64 px" in card()
    assert "no labels" not in card()
    assert "have no labels" in card(evaluation=EVALUATION | {"labelled": False})
    unmeasured = card(evaluation={})
    assert "Nothing was measured in the run." in unmeasured
    assert "manta evaluate" not in unmeasured
    assert "labels: no accuracy" not in unmeasured


def test_what_a_run_does_not_say_is_left_out() -> None:
    text = card(run={"name": "old", "run_id": "1"})
    assert "| Encoder | resnet18, from random weights |" in text
    assert "| Data | s3://me:***@bucket/birds |" in text
    assert "Code" not in text
    assert "None" not in text
