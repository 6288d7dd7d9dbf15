"""FUNGI: gradients of self-supervised losses added to frozen features, for nearest neighbours.

Simoncini, Gidaris, Bursuc & Asano 2024, "No Train, all Gain: Self-Supervised Gradients Improve Deep
Frozen Representations". Certain are: the gradient of each sample's loss with respect to the weight
and bias of one layer, the output projection of the last attention; random +-1 projections of it to
the embedding's width; that each part is normalised before they are concatenated; random heads that
nothing trains; and three losses: the divergence of the head's softmax from the uniform distribution
(KL), DINO's cross-entropy between views, and SimCLR's loss against a fixed set of negatives.

Ours: views are a regular grid of overlapping crops, which all losses share and which nobody draws;
DINO's teacher is the same encoder and head on the whole image; networks without attention give the
gradient of their last convolution or linear layer; and a row of signs is the outer product of two
rows of signs, one for the layer's outputs and one for its inputs. Projections of that kind keep
inner products in expectation as independent signs do, and need neither a sample's gradient nor a
matrix of width times weights in memory.
"""

from __future__ import annotations

import copy
import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.encoders.layers import find_layer
from manta.errors import ConfigError
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import Metric
from manta.evaluators.knn import KNN, KNNConfig
from manta.ragged import dense

Loss = Literal["kl", "dino", "simclr"]


class FungiConfig(EncoderEvaluatorConfig):
    """Settings of the gradients, of the rows and of the neighbours.

    DINO and SimCLR cost `grid * grid` further forward passes of each image.
    """

    name: Literal["fungi"] = "fungi"
    losses: tuple[Loss, ...] = Field(
        ("kl", "dino", "simclr"), min_length=1, description="whose gradients are added"
    )
    layer: str | None = Field(
        None,
        description="of the encoder, linear or a convolution; None: the last attention's "
        "projection, or the last layer of either kind",
    )
    rows: int = Field(5_000, ge=1, description="of the bank, at most")
    query_rows: int = Field(1_000, ge=1, description="of the queries, at most")
    grid: int = Field(2, ge=1, description="crops along a side")
    crop: float = Field(0.6, gt=0, le=1, description="side of a crop, of the image's")
    prototypes: int = Field(2048, ge=2, description="outputs of DINO's head")
    negatives: int = Field(
        256, ge=1, description="rows of the bank that SimCLR sets crops apart from, at most"
    )
    kl_temperature: float = Field(
        1.0, gt=0, description="of the softmax that is compared with the uniform one"
    )
    temperature: float = Field(0.1, gt=0, description="of DINO's student and of SimCLR")
    teacher_temperature: float = Field(0.07, gt=0, description="of DINO's teacher")
    k: int = Field(20, ge=1, description="neighbours that vote; clipped to the bank's rows")
    vote_temperature: float = Field(0.1, gt=0, description="of the votes' weights")
    chunk: int = Field(
        2048, ge=1, description="rows of queries and of the bank that are compared at a time"
    )
    batch: int = Field(
        32,
        ge=1,
        description="images whose crops go through the encoder at a time; bounds the memory",
    )
    seed: int = Field(0, ge=0, description="of heads, signs and negatives")


METRICS = {
    "fungi_top1": Metric(
        "kNN accuracy with gradients",
        "Features and gradients.",
        short="kNN, gradients",
        better="higher",
        kind="fraction",
    ),
    "fungi_plain_top1": Metric(
        "kNN accuracy without them",
        "The same rows.",
        short="kNN, no gradients",
        better="higher",
        kind="fraction",
    ),
    "fungi_gain": Metric(
        "What gradients add", "The difference of the two.", better="higher", kind="fraction"
    ),
}


@EVALUATORS.register("fungi")
class Fungi(EncoderEvaluator[FungiConfig]):
    """Accuracy of nearest neighbours with gradients, `fungi_top1`, and without them.

    `fungi_plain_top1` is of the same rows, and `fungi_gain` the difference.
    """

    Config = FungiConfig
    title = "Gradients as features"
    about = (
        "What the gradients of self-supervised losses add to the features, for nearest neighbours "
        "(FUNGI)."
    )
    metrics = METRICS
    needs_labels = True
    modalities = frozenset({"image"})

    @torch.inference_mode(False)  # there would be no gradients in it
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        config = self.config
        gradients = Gradients(access, config)
        bank = _read(access, gradients, "bank", config.rows)
        queries = _read(access, gradients, "queries", config.query_rows)
        if bank.labels is None or queries.labels is None:
            return {}
        settings = KNNConfig(
            k=min(config.k, len(bank.labels)),
            temperature=config.vote_temperature,
            chunk=config.chunk,
        )
        knn = KNN(settings)
        plain = knn.hits(Features(bank.plain, queries.plain, bank.labels, queries.labels))[
            "knn_top1"
        ]
        found = knn.hits(Features(bank.joined, queries.joined, bank.labels, queries.labels))[
            "knn_top1"
        ]
        return {
            "fungi_top1": found,
            "fungi_plain_top1": plain,
            "fungi_gain": found.double() - plain.double(),
        }


class Gradients:
    """Projected gradients of every loss, by a copy of the encoder with a tap on one layer."""

    def __init__(self, access: EncoderAccess, config: FungiConfig) -> None:
        self.access, self.config = access, config
        self.encoder = copy.deepcopy(access.encoder).eval().requires_grad_(False)
        self.layer = _tapped(self.encoder, config.layer)
        self.layer.register_forward_hook(self._tap)
        self._inputs: Tensor | None = None
        self._outputs: Tensor | None = None
        generator, width, device = (
            torch.Generator().manual_seed(config.seed),
            access.encoder.embed_dim,
            access.device,
        )

        def head(outputs: int) -> Tensor:
            return (torch.randn(outputs, width, generator=generator) / math.sqrt(width)).to(device)

        def signs(entries: int) -> Tensor:
            drawn = torch.randint(0, 2, (width, entries), generator=generator)
            return (2.0 * drawn - 1).to(device)

        # Everything is drawn whatever the losses are, so that one's numbers do not depend on the
        # others.
        self.heads = {"kl": head(width), "dino": head(config.prototypes), "simclr": head(width)}
        outputs, weights = self.layer.weight.shape[0], self.layer.weight[0].numel()
        self.signs = {loss: (signs(outputs), signs(weights + 1)) for loss in self.heads}
        self.negatives = (
            self._negatives() if "simclr" in config.losses else torch.empty(0, width, device=device)
        )

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings `[B, D]` of uint8 `[B, 3, S, S]`, and features with gradients.

        The latter are `[B, D * (1 + losses)]`, of normalised parts.
        """
        prepared = self.access.prepared_images(images)
        terms = {"kl": self._kl, "dino": self._dino, "simclr": self._simclr}
        crops = self._crops(prepared) if set(self.config.losses) != {"kl"} else []
        with torch.enable_grad():
            z = (
                self.encoder.embed(torch.cat([prepared, *crops]))
                .float()
                .view(1 + len(crops), len(images), -1)
            )
            losses = {loss: terms[loss](z) for loss in self.config.losses}
        inputs, outputs = self._inputs, self._outputs
        if inputs is None or outputs is None:
            raise ConfigError(
                "fungi.layer: this layer takes no part in the encoder's embedding; "
                "choose another one"
            )
        parts = [F.normalize(z[0].detach(), dim=1)]
        for loss, value in losses.items():
            (gradient,) = torch.autograd.grad(value, outputs, retain_graph=True)
            projected = project(self.layer, inputs, gradient, *self.signs[loss])
            # An image's loss reaches the layer through all of its views.
            parts.append(F.normalize(projected.view(len(z), len(images), -1).sum(0), dim=1))
        self._inputs = self._outputs = None
        return z[0].detach(), torch.cat(parts, dim=1)

    def _kl(self, z: Tensor) -> Tensor:
        """Return the divergence of whole images' softmax from uniform, up to a constant."""
        return (
            -F.log_softmax(z[0] @ self.heads["kl"].T / self.config.kl_temperature, dim=1)
            .mean(1)
            .sum()
        )

    def _dino(self, z: Tensor) -> Tensor:
        """Return the cross-entropy of crops' cosines with prototypes under the whole image's.

        It is the mean over crops.
        """
        logits = F.normalize(z, dim=2) @ F.normalize(self.heads["dino"], dim=1).T
        teacher = F.softmax(logits[0].detach() / self.config.teacher_temperature, dim=1)
        return (
            -(teacher * F.log_softmax(logits[1:] / self.config.temperature, dim=2))
            .sum(2)
            .mean(0)
            .sum()
        )

    def _simclr(self, z: Tensor) -> Tensor:
        """Return NT-Xent of each crop with the whole image, against the negatives."""
        view = F.normalize(z @ self.heads["simclr"].T, dim=2)
        positive = (view[1:] * view[0]).sum(2, keepdim=True)
        logits = torch.cat([positive, view[1:] @ self.negatives.T], dim=2) / self.config.temperature
        return -F.log_softmax(logits, dim=2)[..., 0].mean(0).sum()

    def _negatives(self) -> Tensor:
        """Return rows from all over the bank, normalised, under SimCLR's head."""
        found = [
            self.access.embed(data) for data, _ in self.access.rows("bank", self.config.negatives)
        ]
        return F.normalize(torch.cat(found) @ self.heads["simclr"].T, dim=1)

    def _crops(self, prepared: Tensor) -> list[Tensor]:
        """Return squares on a regular grid, each resized to the image's size."""
        side = prepared.shape[-1]
        length = max(round(self.config.crop * side), 1)
        starts = torch.linspace(0, side - length, self.config.grid).round().int().tolist()
        squares = [
            prepared[..., top : top + length, left : left + length]
            for top in starts
            for left in starts
        ]
        return [
            F.interpolate(square, (side, side), mode="bilinear", antialias=True)
            for square in squares
        ]

    def _tap(self, _layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Cut the graph at the layer's output: what comes before is not differentiated."""
        self._inputs = inputs[0].detach()
        self._outputs = output.detach().requires_grad_()
        return self._outputs.clone()  # the next layer may work in place


def project(
    layer: nn.Linear | nn.Conv2d, inputs: Tensor, gradient: Tensor, left: Tensor, right: Tensor
) -> Tensor:
    """Return `[V, K]` projections of each sample's gradient of a layer's weight and bias.

    The gradient is the sum over positions of outer products, of the output's gradient and the input
    with a 1 after it; so its inner product with an outer product of signs is the sum of products of
    two numbers.

    Args:
        inputs: `[V, ..., I]` of a linear layer, `[V, C, H, W]` of a convolution.
        gradient: with respect to the layer's output.
        left: `[K, O]` signs of outputs.
        right: `[K, I + 1]` signs of inputs, the last being the bias's.
    """
    if isinstance(layer, nn.Conv2d):
        inputs = _patches(layer, inputs)
        gradient = gradient.flatten(2).mT
    seen, back = (x.flatten(1, -2) if x.ndim > 2 else x[:, None] for x in (inputs, gradient))
    ones = right[:, -1] if layer.bias is not None else 0.0
    return ((back @ left.T) * (seen @ right[:, :-1].T + ones)).sum(1)


def _patches(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return `[V, positions, weights of an output]`, what a convolution makes each output of."""
    if layer.groups != 1 or isinstance(layer.padding, str):
        raise ConfigError(
            "fungi.layer: grouped convolutions are not supported; "
            "choose a linear layer or a plain one"
        )
    return F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT


def _tapped(encoder: nn.Module, name: str | None) -> nn.Linear | nn.Conv2d:
    if name is not None:
        chosen = find_layer(encoder, name)
        if not isinstance(chosen, nn.Linear | nn.Conv2d):
            raise ConfigError(
                f"fungi.layer: {name!r} is no linear layer and no convolution; choose one that is"
            )
        return chosen
    layers = [
        (key, module)
        for key, module in encoder.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    attention = [module for key, module in layers if key.endswith("attn.proj")]
    if attention:
        return attention[-1]
    plain = [
        module for _, module in layers if not isinstance(module, nn.Conv2d) or module.groups == 1
    ]
    if not plain:
        raise ConfigError(
            "fungi needs an encoder with a linear layer or a convolution; leave the evaluator out"
        )
    return plain[-1]


class _Rows(NamedTuple):
    plain: Tensor
    joined: Tensor
    labels: Tensor | None


def _read(
    access: EncoderAccess, gradients: Gradients, split: Literal["bank", "queries"], limit: int
) -> _Rows:
    """Return features without and with gradients, and labels, on the CPU."""
    plain, joined, labels = [], [], []
    for data, truth in access.rows(split, limit):
        for part in torch.split(dense(data, "image"), gradients.config.batch):
            z, both = gradients(part)
            plain.append(z.cpu())
            joined.append(both.cpu())
        if truth is not None:
            labels.append(truth)
    return _Rows(torch.cat(plain), torch.cat(joined), torch.cat(labels) if labels else None)
