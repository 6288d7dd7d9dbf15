"""FUNGI: projected gradients against autograd, sample by sample, and neighbours against the kNN
evaluator."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from access_kit import Pixels, access_of, prepare, small_encoder
from conformance.objective_kit import labels, pictures
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluators import Features, build
from manta.evaluators.fungi import FungiConfig, Gradients, Loss, project
from manta.evaluators.knn import KNN, KNNConfig

KINDS: tuple[Literal["resnet", "vit"], ...] = ("resnet", "vit")


def signs(*shape: int, seed: int) -> Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float() * 2 - 1


LAYERS: dict[str, tuple[nn.Linear | nn.Conv2d, tuple[int, ...]]] = {
    "tokens": (nn.Linear(5, 4), (3, 7, 5)),
    "vectors": (nn.Linear(5, 4, bias=False), (3, 5)),
    "windows": (nn.Linear(5, 4), (3, 2, 6, 5)),
    "convolution": (nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 3, 9, 8)),
    "kernel of one": (nn.Conv2d(5, 4, 1, bias=False), (3, 5, 6, 6)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_projections_are_those_of_each_samples_gradient(case: str) -> None:
    layer, shape = LAYERS[case]
    torch.manual_seed(0)
    x = torch.randn(shape)
    outputs = layer(x).detach().requires_grad_()
    weights = torch.randn_like(outputs)
    ((outputs.sin() * weights).sum()).backward()  # type: ignore[no-untyped-call]
    left, right = signs(6, 4, seed=1), signs(6, layer.weight[0].numel() + 1, seed=2)
    assert outputs.grad is not None
    found = project(layer, x, outputs.grad, left, right)
    for sample in range(len(x)):
        layer.zero_grad()
        (layer(x[sample : sample + 1]).sin() * weights[sample : sample + 1]).sum().backward()
        assert layer.weight.grad is not None
        gradient = layer.weight.grad.flatten(1)
        if layer.bias is not None:
            assert layer.bias.grad is not None
            gradient = torch.cat([gradient, layer.bias.grad[:, None]], dim=1)
        for row in range(6):
            random_signs = torch.outer(left[row], right[row])[:, : gradient.shape[1]]
            assert found[sample, row].item() == pytest.approx(
                (gradient * random_signs).sum().item(), abs=1e-3
            )


def test_signs_of_outer_products_keep_cosines() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    x, back = torch.randn(6, 5, 40), torch.randn(6, 5, 30)
    x[1], back[1] = x[0] + 0.5 * torch.randn(5, 40), back[0] + 0.5 * torch.randn(5, 30)
    ones = torch.cat([x, torch.ones(6, 5, 1)], dim=2)
    gradients = torch.einsum("vto,vti->voi", back, ones).flatten(1)
    found = project(layer, x, back, signs(4000, 30, seed=1), signs(4000, 41, seed=2))
    expected = F.cosine_similarity(gradients[0], gradients[1:])
    assert expected[0] > 0.6
    assert (F.cosine_similarity(found[0], found[1:]) - expected).abs().max() < 0.08


def losses_by_sample(loss: Loss, z: Tensor, gradients: Gradients, config: FungiConfig) -> Tensor:
    """The loss of one image of the embeddings `[views, D]`, the first being the whole image's."""
    head = gradients.heads[loss]
    if loss == "kl":
        p = (head @ z[0] / config.kl_temperature).softmax(0)
        return sum((1 / len(p)) * torch.log((1 / len(p)) / value) for value in p)
    total = z.new_zeros(())
    for crop in z[1:]:
        if loss == "dino":
            unit = head / head.norm(dim=1, keepdim=True)
            teacher = (unit @ (z[0] / z[0].norm()) / config.teacher_temperature).softmax(0).detach()
            student = (unit @ (crop / crop.norm()) / config.temperature).softmax(0)
            total = total - (teacher * student.log()).sum()
        else:
            a, b = (head @ crop) / (head @ crop).norm(), (head @ z[0]) / (head @ z[0]).norm()
            others = torch.exp(gradients.negatives @ a / config.temperature).sum()
            positive = torch.exp(a @ b / config.temperature)
            total = total - torch.log(positive / (positive + others))
    return total / len(z[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_loss_equal_autograds_through_the_encoder(
    kind: Literal["resnet", "vit"],
) -> None:
    encoder = small_encoder(kind)
    access, _ = access_of(encoder, bank=100, queries=10)
    config = FungiConfig(
        prototypes=32, negatives=20, grid=2, crop=0.5, kl_temperature=0.5, teacher_temperature=0.2
    )
    gradients = Gradients(access, config)
    images = pictures()[200:203]
    z, joined = gradients(images)
    x = prepare(images)
    with torch.no_grad():
        torch.testing.assert_close(z, encoder.embed(x), atol=1e-5, rtol=1e-4)
    parts = joined.view(3, 4, encoder.embed_dim)
    torch.testing.assert_close(parts.norm(dim=2), torch.ones(3, 4))
    torch.testing.assert_close(parts[:, 0], F.normalize(z, dim=1))
    layer: Any = encoder.model.blocks[1].attn.proj if kind == "vit" else last_convolution(encoder)
    for sample in range(3):
        one = x[sample : sample + 1]
        corners = [
            one[..., top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16)
        ]
        crops = [
            F.interpolate(corner, (32, 32), mode="bilinear", antialias=True) for corner in corners
        ]
        for place, loss in enumerate(config.losses, start=1):
            views = encoder.embed(torch.cat([one, *crops]))
            weight, *bias = torch.autograd.grad(
                losses_by_sample(loss, views, gradients, config),
                [layer.weight] if layer.bias is None else [layer.weight, layer.bias],
            )
            left, right = gradients.signs[loss]
            whole = torch.cat([weight.flatten(1), *(value[:, None] for value in bias)], dim=1)
            expected = torch.einsum("ko,oi,ki->k", left, whole, right[:, : whole.shape[1]])
            torch.testing.assert_close(
                parts[sample, place], F.normalize(expected, dim=0), atol=2e-4, rtol=1e-3
            )


def last_convolution(encoder: Encoder) -> nn.Conv2d:
    return [module for module in encoder.modules() if isinstance(module, nn.Conv2d)][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_with_and_without_gradients(kind: Literal["resnet", "vit"]) -> None:
    encoder = small_encoder(kind)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    access, features = access_of(encoder, bank=300, queries=150)
    with torch.inference_mode():
        found = build(FungiConfig(k=5, query_rows=120)).mean_scores(features, access)
    few = Features(features.bank, features.queries[:120], labels()[:300], labels()[300:420])
    plain = KNN(KNNConfig(k=5)).mean_scores(few)["knn_top1"]
    assert found["fungi_plain_top1"] == pytest.approx(plain, abs=0.017)
    assert found["fungi_gain"] == pytest.approx(found["fungi_top1"] - found["fungi_plain_top1"])
    assert found["fungi_top1"] > 0.3
    assert not any(module._forward_hooks for module in encoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_one_losss_gradients_do_not_depend_on_the_others() -> None:
    access, _ = access_of(small_encoder("vit"), bank=60, queries=10)
    images = pictures()[100:104]
    _, joined = Gradients(access, FungiConfig(negatives=30))(images)
    width = access.encoder.embed_dim
    for place, loss in enumerate(("kl", "dino", "simclr"), start=1):
        _, alone = Gradients(access, FungiConfig(losses=(loss,), negatives=30))(images)
        torch.testing.assert_close(alone[:, width:], joined[:, place * width : (place + 1) * width])


def test_images_do_not_depend_on_what_else_is_in_the_batch() -> None:
    access, _ = access_of(small_encoder("resnet"), bank=60, queries=10)
    gradients = Gradients(access, FungiConfig(negatives=30))
    _, together = gradients(pictures()[:6])
    _, alone = gradients(pictures()[2:3])
    torch.testing.assert_close(alone[0], together[2], atol=1e-4, rtol=1e-3)


def test_the_layer_is_the_last_attentions_projection_or_the_named_one() -> None:
    vit, resnet = (
        access_of(small_encoder(kind), bank=10, queries=5)[0] for kind in ("vit", "resnet")
    )
    taken = Gradients(vit, FungiConfig(losses=("kl",)))
    assert taken.layer is taken.encoder.model.blocks[1].attn.proj  # type: ignore[index, union-attr]
    named = Gradients(resnet, FungiConfig(losses=("kl",), layer="layer1.0.conv2"))
    assert named.layer is named.encoder.model.layer1[0].conv2  # type: ignore[index, union-attr]
    for layer, message in {
        "layer1.0.bn1": "is no linear layer and no convolution",
        "layer7": "has no layer 'layer7'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            Gradients(resnet, FungiConfig(losses=("kl",), layer=layer))
    with pytest.raises(ConfigError, match="leave the evaluator out"):
        Gradients(access_of(Pixels(), bank=10, queries=5)[0], FungiConfig(losses=("kl",)))


def test_layers_that_do_not_serve_are_refused() -> None:
    encoder = small_encoder("vit")
    encoder.model.spare = nn.Linear(2, 2)  # type: ignore[union-attr]
    access, _ = access_of(encoder, bank=10, queries=5)
    with pytest.raises(ConfigError, match="takes no part"):
        Gradients(access, FungiConfig(losses=("kl",), layer="spare"))(pictures()[:2])
    grouped = nn.Conv2d(4, 4, 3, groups=2)
    with pytest.raises(ConfigError, match="grouped convolutions"):
        project(
            grouped,
            torch.zeros(1, 4, 5, 5),
            torch.zeros(1, 4, 3, 3),
            signs(2, 4, seed=0),
            signs(2, 19, seed=0),
        )


def test_labels_are_needed() -> None:
    access, features = access_of(small_encoder("vit"), bank=20, queries=10, labelled=False)
    assert build(FungiConfig()).mean_scores(features, access) == {}
