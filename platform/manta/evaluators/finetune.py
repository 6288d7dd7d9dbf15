"""Fine-tuning of the whole encoder with few labels, under a head that starts from prototypes.

Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section
4.2, for 1 % and 10 % of the labels, drawn class by class, with crops and flips as the only
augmentations; Medina, Devos & Grossglauser 2020, "Self-Supervised Prototypical Transfer Learning
for Few-Shot Classification" (ProtoTune), for the head: `w = 2 c` and `b = -|c|^2` of each class's
mean feature c, so that it starts as the nearest prototype. Those are certain.

Ours: distances are counted in units of the features' variance, whose scale would else decide how
sure the head is of itself; every parameter is trained, by AdamW for a number of steps whatever the
number of labels; and the statistics of BatchNorm stay, which a few images could not estimate.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import Metric, MetricFigure
from manta.modalities.image.views.kernels import resample
from manta.ragged import dense
from manta.schedules import Cosine


class FinetuneConfig(EncoderEvaluatorConfig):
    """Settings of the labels that are used, and of the training.

    Each trial costs `steps * batch_size` images, and the images of the largest trial are held in
    memory.
    """

    name: Literal["finetune"] = "finetune"
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.01, 0.1),
        description="trials with a fraction of each class's rows of the bank, at least one",
    )
    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="trials with a number of rows of each class"
    )
    head: Literal["prototypes", "zeros"] = Field(
        "prototypes", description="where the classifier starts"
    )
    sharpness: float = Field(
        1.0,
        gt=0,
        description="of prototypes: variance of the labelled features, in units of distances",
    )
    steps: int = Field(300, ge=0, description="of the optimizer; 0 leaves the head as it starts")
    batch_size: int = Field(
        64, ge=1, description="images a step; clipped to those that have labels"
    )
    lr: float = Field(
        3e-4, gt=0, description="peak learning rate of AdamW, of head and encoder; a cosine to 0"
    )
    weight_decay: float = Field(0.05, ge=0, description="of matrices and kernels")
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor of the learning rate from each layer to the one before it; "
        "None: all alike",
    )
    least_area: float = Field(
        0.25, gt=0, le=1, description="of an image that a training crop shows; 1 does not crop"
    )
    flip: bool = Field(True, description="mirror half of the training images")
    rows: int = Field(10_000, ge=1, description="of the queries that are scored, at most")
    seed: int = Field(0, ge=0, description="of the draw of rows, their order and their crops")

    @model_validator(mode="after")
    def _trials(self) -> FinetuneConfig:
        if not self.fractions and not self.shots:
            raise ValueError("finetune has nothing to try; give fractions or shots")
        return self


METRICS = {
    "finetune_{percent:g}pct_top1": Metric(
        "Fine-tuned on {percent}% of the labels",
        "Images that the fine-tuned encoder names correctly.",
        short="Fine-tuned, {percent}%",
        better="higher",
        kind="fraction",
        figure="fractions",
        at="{percent}%",
        line="fine-tuned",
    ),
    "finetune_{shots:d}shot_top1": Metric(
        "Fine-tuned on {shots} of each class",
        "Images that the fine-tuned encoder names correctly.",
        short="Fine-tuned, {shots}-shot",
        better="higher",
        kind="fraction",
        figure="shots",
        at="{shots}",
        line="fine-tuned",
    ),
}


FIGURES = {
    key: MetricFigure(
        title,
        "The whole encoder is trained on with these labels alone.",
        axis=axis,
        level="linear_top1",
        level_note="the linear probe with all labels",
    )
    for key, title, axis in (
        ("fractions", "Fine-tuned with a part of the labels", "of the labels"),
        ("shots", "Fine-tuned with a few images of each class", "labelled images of each class"),
    )
}


@EVALUATORS.register("finetune")
class Finetune(EncoderEvaluator[FinetuneConfig]):
    """Accuracy after fine-tuning: `finetune_<percent>pct_top1` and `finetune_<shots>shot_top1`."""

    Config = FinetuneConfig
    title = "Fine-tuning with few labels"
    about = "The whole encoder is trained on with a small part of the labels."
    metrics = METRICS
    figures = FIGURES
    needs_labels = True
    modalities = frozenset({"image"})

    @torch.inference_mode(False)  # training needs gradients, whatever mode its caller is in
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        if features.bank_labels is None:
            return {}
        config, labels = self.config, features.bank_labels.cpu()
        trials: dict[str, float | int] = {
            f"finetune_{100 * size:g}pct_top1": size for size in config.fractions
        }
        trials |= {f"finetune_{size}shot_top1": size for size in config.shots}
        if not bool(features.bank.isfinite().all()):
            return dict.fromkeys(trials, float("nan"))
        chosen = {name: few(labels, size, seed=config.seed) for name, size in trials.items()}
        images = _read(access, torch.unique(torch.cat(list(chosen.values()))))
        tuned = {}
        for name, rows in chosen.items():
            classes, targets = torch.unique(labels[rows], return_inverse=True)
            support = torch.stack([images[row] for row in rows.tolist()])
            tuned[name] = classes, self._tune(access, support, targets)
        return _score(access, tuned, limit=config.rows)

    def _tune(self, access: EncoderAccess, images: Tensor, targets: Tensor) -> nn.Module:
        """Train a copy of the encoder with a head on `images: [N, 3, S, S]` of `targets: [N]`."""
        config, device = self.config, access.device
        targets = targets.to(device)
        encoder = copy.deepcopy(access.encoder).eval().requires_grad_(True)
        head = nn.Linear(encoder.embed_dim, int(targets.max()) + 1, device=device)
        with torch.no_grad():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            if config.head == "prototypes":
                support = torch.cat(
                    [access.embed({"image": part}) for part in torch.split(images, 256)]
                )
                _start(head, support, targets, config.sharpness)
        classifier = nn.Sequential(encoder, head)
        groups = [
            *_groups(encoder, config),
            {"params": list(head.parameters()), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
        peaks = [group["lr"] * group.get("lr_scale", 1.0) for group in optimizer.param_groups]
        generator = torch.Generator().manual_seed(config.seed)
        schedule = Cosine(warmup=0.1)
        with torch.enable_grad():
            for step, rows in enumerate(
                _batches(len(images), config.batch_size, config.steps, generator)
            ):
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * schedule.value(step, config.steps)
                views = augment(
                    images[rows].to(device),
                    config.least_area,
                    flip=config.flip,
                    generator=generator,
                )
                loss = F.cross_entropy(
                    classifier(access.prepared_images(views)).float(), targets[rows.to(device)]
                )
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward([loss])
                optimizer.step()
        return classifier


def few(labels: Tensor, size: float | int, *, seed: int) -> Tensor:
    """Draw rows of `labels: [N]` class by class, a fraction of each or a whole number of them.

    There is at least one row of each class. Smaller draws are parts of larger ones.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for label in torch.unique(labels):
        own = (labels == label).nonzero().flatten()
        count = size if isinstance(size, int) else max(round(size * len(own)), 1)
        rows.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(rows)


def augment(images: Tensor, least_area: float, *, flip: bool, generator: Generator) -> Tensor:
    """Return a random square of each of uint8 `[B, 3, S, S]`, resized to S, mirrored or not."""
    side, count = images.shape[-1], len(images)
    area = least_area + (1 - least_area) * torch.rand(count, generator=generator)
    length = side * area.sqrt()
    left, top = (side - length) * torch.rand(2, count, generator=generator)
    box = torch.stack([left, top, left + length, top + length], dim=1).to(images.device)
    mirrored = (torch.rand(count, generator=generator) < (0.5 if flip else 0.0)).to(images.device)
    return (
        resample(images.float(), box, mirrored, None, size=side)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
    )


def _read(access: EncoderAccess, rows: Tensor) -> dict[int, Tensor]:
    """Return the images of some rows of the bank, `[3, S, S]` by row number."""
    by_row: dict[int, Tensor] = {}
    start = 0
    for data, _ in access.rows("bank"):
        images = dense(data, "image")
        here = rows[(rows >= start) & (rows < start + len(images))]
        by_row |= {row: images[row - start].clone() for row in here.tolist()}
        start += len(images)
    return by_row


def _start(head: nn.Linear, features: Tensor, targets: Tensor, sharpness: float) -> None:
    """Set the head to minus the squared distances from the prototypes, in units of `sharpness`."""
    mean = features.mean(0)
    unit = (features - mean).square().sum(1).mean().clamp_min(
        torch.finfo(features.dtype).tiny
    ) / sharpness
    sums = torch.zeros_like(head.weight).index_add_(0, targets, features - mean)
    prototypes = sums / torch.bincount(targets)[:, None]
    # Distances from the mean instead of from the origin: what is left out is the same for every
    # class, and a head of large weights on what all features share would not survive the first
    # steps.
    head.weight.copy_(2 * prototypes / unit)
    head.bias.copy_(-prototypes.square().sum(1) / unit - head.weight @ mean)


def _groups(encoder: Encoder, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Return parameter groups of the encoder, with `lr_scale` where layers have own rates."""
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    model = getattr(encoder, "model", encoder)
    groups: list[dict[str, Any]]
    if config.layer_decay is None:
        groups = param_groups_weight_decay(encoder, config.weight_decay)
    elif hasattr(model, "group_matcher"):
        groups = param_groups_layer_decay(
            model, config.weight_decay, layer_decay=config.layer_decay
        )
    else:
        raise ConfigError(
            "finetune.layer_decay: this encoder does not say in which order its layers are; "
            "leave it out"
        )
    return groups


def _batches(rows: int, batch: int, steps: int, generator: Generator) -> Iterator[Tensor]:
    """Yield the row numbers of each step, from one permutation after the other."""
    order = torch.empty(0, dtype=torch.int64)
    batch = min(batch, rows)
    for _ in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(rows, generator=generator)])
        yield order[:batch]
        order = order[batch:]


@torch.no_grad()
def _score(
    access: EncoderAccess, tuned: dict[str, tuple[Tensor, nn.Module]], *, limit: int
) -> Scores:
    """Return which query rows each classifier names correctly.

    Args:
        tuned: classes and classifier of each trial. A class that it was not shown is always wrong.
    """
    hits: dict[str, list[Tensor]] = {name: [] for name in tuned}
    for data, truth in access.rows("queries", limit):
        if truth is None:
            return {}
        prepared = access.prepared(data)
        for name, (classes, classifier) in tuned.items():
            hits[name].append(classes[classifier(prepared).argmax(1).cpu()] == truth)
    return {name: torch.cat(parts) for name, parts in hits.items()}
