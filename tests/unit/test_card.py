from __future__ import annotations

import re
from typing import Any

import pytest

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


WHOLE = """\
# birds: resnet18 by simclr

An image encoder that was pretrained without labels: uint8 images `[N, H, W, 3]` of any size \
in, float32 features `[N, D]` out. Its preprocessing is inside: the central square, resized to \
64 px and normalised.

|  |  |
| --- | --- |
| Objective | simclr: A Simple Framework for Contrastive Learning of Visual Representations \
(2020), arXiv:2002.05709, ICML 2020 |
| Encoder | resnet18, 11,176,512 parameters, from random weights |
| Data | s3://me:***@bucket/birds, 12,345 images, digest `d1ge57` |
| Budget | 12.5 epochs, 1,205 steps, batches of 128, seed 3 |
| Run | `0123abc`, 2026-05-05T10:00:00+00:00 |
| Code | `fedcba9` |

## Measured

On 1,234 images held out of training; probes learned from 11,111 training images. Accuracies \
are fractions of 1.

| metric | trained | untrained | what it is |  |
| --- | --- | --- | --- | --- |
| `knn_top1` | 0.9346 | 0.4 | kNN top-1 accuracy | Higher is better. |
| `rankme` | 41.25 |  | Effective rank (RankMe) | Higher is better. |
| `linear_l2` | 0.01 |  | Penalty of the linear probe | A setting that was chosen, not a score. |

Settings of the evaluators:

- knn: k 20, temperature 0.1
- rank: defaults

## Limits

- Trained on images of 64 px: larger ones are shrunk to it, and finer detail is lost.
- Measured on images of the training source, by one run of one seed; `manta evaluate` tries \
other data.
- Pretrained without labels: a task needs a probe or fine-tuning, and its own evaluation, \
before use.
- Manta knows neither the licence of the data nor whom or what they leave out.
"""


def test_the_whole_card() -> None:
    assert card() == WHOLE


def test_a_card_without_settings_has_no_empty_list() -> None:
    text = card(evaluation=EVALUATION | {"settings": {}})
    assert "not a score. |\n\n## Limits" in text


def test_the_floor_stands_beside_and_what_loses_to_it_is_said() -> None:
    metrics = EVALUATION["metrics"] | {"floor_knn_top1": 0.95}
    text = card(evaluation=EVALUATION | {"metrics": metrics, "floor": "colour histograms"})
    assert "The floor is what the same evaluators find in colour histograms, which" in text
    assert "\n\n| metric | trained | untrained | floor | what it is |  |\n| --- |" in text
    assert "| `knn_top1` | 0.9346 | 0.4 | 0.95 | kNN top-1 accuracy |" in text
    assert "| `rankme` | 41.25 |  |  | Effective" in text
    assert "\nIt loses to its floor by `knn_top1`.\n\nSettings of the evaluators:" in text


def test_it_says_what_the_model_was_made_from_and_how() -> None:
    text = card()
    assert text.startswith("# birds: resnet18 by simclr\n")
    assert "| Data | s3://me:***@bucket/birds, 12,345 images, digest `d1ge57` |" in text
    assert "| Budget | 12.5 epochs, 1,205 steps, batches of 128, seed 3 |" in text
    assert "| Encoder | resnet18, 11,176,512 parameters, from random weights |" in text
    assert "| Run | `0123abc`, 2026-05-05T10:00:00+00:00 |" in text
    title = "A Simple Framework for Contrastive Learning of Visual Representations"
    assert f"{title} (2020), arXiv:2002.05709" in text
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


@pytest.mark.parametrize("source", ["a|b", "[v2](x)", "<b>x", "`x`", "back\\slash", "$x$"])
def test_a_path_is_no_markup(source: str) -> None:
    data = EXPERIMENT["data"] | {"source": source}
    text = model_card(from_mapping(EXPERIMENT | {"data": data}), RUN, EVALUATION)
    (row,) = [line for line in text.splitlines() if line.startswith("| Data | ")]
    cell = re.split(r"(?<!\\)[|]", row)[2].strip()
    assert re.sub(r"\\([^\w\s])", r"\1", cell).startswith(f"{source}, ")


def test_a_card_of_series_says_what_the_encoder_takes() -> None:
    series = EXPERIMENT | {
        "data": {"source": "./beats.csv", "modality": "series", "channels": ["x", "y"]},
        "encoder": {"name": "resnet1d"},
    }
    text = model_card(from_mapping(series), RUN, EVALUATION)
    assert not re.findall(r"(?i).{20}\bimages?\b.{20}", text)
    assert "An encoder of windows that was pretrained without labels: float32 `series`" in text
    assert "`[N, T, 2]` in, float32 features `[N, D]` out." in text
    assert "the encoder is given sequences of 2 x any." in text
    assert "12,345 windows, digest" in text
    assert "On 1,234 windows held out of training" in text
    assert "## Limits\n\n- Measured on windows of" in text
