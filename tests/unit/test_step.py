"""The training step in one process: accumulation, clipping, schedules, precision."""

import copy

import pytest
import torch

from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress, View
from manta.config import Experiment, from_mapping
from manta.modalities.image.views import ImageViewsConfig
from manta.ragged import Ragged
from manta.spec import Spec
from manta.training.step import TrainStep, resolve_precision
from manta.views import ViewPipeline

CPU = torch.device("cpu")


def experiment(weight_decay: float = 0.5, **train: object) -> Experiment:
    return from_mapping(
        {
            "data": {"source": "digits", "image_size": 16},
            "encoder": {"name": "resnet10t"},
            "objective": {"name": "vicreg"},
            "optimizer": {
                "name": "sgd",
                "lr": 0.1,
                "weight_decay": weight_decay,
                "schedule": {"name": "linear"},
            },
            "train": {"batch_size": 16, "precision": "float32", **train},
        }
    )


def step_of(config: Experiment) -> TrainStep:
    torch.manual_seed(0)
    encoder = encoders.build(config.encoder, Spec.image(16))
    return TrainStep(
        config,
        objectives.build(config.objective, encoder, DataFacts(100, 16)),
        device=CPU,
        total_steps=10,
    )


def images() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return {"image": pixels}, torch.arange(16)


def test_the_same_step_twice_is_the_same_step():
    first, second = (step_of(experiment())(*images(), 0) for _ in range(2))
    assert {k: float(v) for k, v in first.items()} == {k: float(v) for k, v in second.items()}


def test_the_schedule_moves_the_rate_and_reports_it():
    step = step_of(experiment())
    assert float(step(*images(), 0)["lr"]) == pytest.approx(0.1)
    assert float(step(*images(), 5)["lr"]) == pytest.approx(0.05)
    assert [group["lr"] for group in step.optimizer.param_groups] == pytest.approx([0.05, 0.05])


def test_norms_and_biases_are_not_decayed():
    step = step_of(experiment())
    decay = {group["decayed"]: group for group in step.optimizer.param_groups}
    assert decay[True]["weight_decay"] == 0.5
    assert decay[False]["weight_decay"] == 0.0
    assert all(p.ndim <= 1 for p in decay[False]["params"])
    assert all(p.ndim > 1 for p in decay[True]["params"])


def test_clipping_bounds_the_update():
    moved = []
    for clip in (None, 1e-3):
        step = step_of(experiment(weight_decay=0.0, clip=clip))
        before = [p.detach().clone() for p in step.objective.parameters()]
        step(*images(), 0)
        after = step.objective.parameters()
        moved.append(
            sum(float((p - b).detach().square().sum()) for p, b in zip(after, before, strict=True))
        )
    assert moved[1] ** 0.5 == pytest.approx(
        0.1 * 1.9 * 1e-3, rel=1e-2
    )  # 1.9: first step of Nesterov momentum 0.9
    assert moved[0] > 100 * moved[1]


def test_accumulated_micro_batches_average_their_gradients():
    """With a loss over micro-batches, two of the same rows give the gradient of one of them."""
    pixels, index = images()
    eight = pixels["image"][:8]
    twice = step_of(experiment(accumulate=2))
    twice.views = FixedViews(twice.views)
    once = step_of(experiment())
    once.views = FixedViews(once.views)
    eight = pixels["image"][:8]
    half = {"image": torch.cat([eight, eight])}, torch.cat([index[:8], index[:8]])
    a = twice(*half, 0)
    b = once({"image": eight}, index[:8], 0)
    assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
    assert float(a["gradient_norm"]) == pytest.approx(float(b["gradient_norm"]), rel=1e-4)


class FixedViews:
    """Every micro-batch gets the draws of the first rows."""

    rows_are_independent = True

    def __init__(self, views: object) -> None:
        self.views = views

    def __call__(self, images, index, *, seed, step, rows, global_batch):
        return self.views(
            images,
            index,
            seed=seed,
            step=step,
            rows=slice(0, len(index)),
            global_batch=global_batch,
        )


class Centred(ViewPipeline[ImageViewsConfig]):
    """Images less the mean of all that are given, with a fact of each row and a ragged one."""

    def __init__(self) -> None:
        self.calls: list[slice] = []

    @classmethod
    def of(cls, config, needs, samples):
        return cls()

    def make(self, data, part):
        self.calls.append(part.rows)
        pixels = data["image"].float()
        rows = torch.arange(part.rows.start, part.rows.stop)
        facts = {"row": rows, "run": Ragged(torch.repeat_interleave(rows, rows), rows)}
        return [View(pixels - pixels.mean(), box=rows.unsqueeze(1).expand(-1, 4), facts=facts)]

    def plain(self, data):
        return data["image"].float()

    def shown(self, view):
        return view.tensor


def micro_batches(step: TrainStep, number: int = 3) -> list[Batch]:
    """Return the batches that a step gives to its model."""
    seen = []

    def model(batch: Batch, progress: Progress) -> dict[str, torch.Tensor]:
        seen.append(batch)
        return {"loss": torch.stack([p.sum() for p in step.objective.parameters()]).sum()}

    trained, step.model = step.model, model
    step(*images(), number)
    step.model = trained
    return seen


def test_micro_batches_are_cut_from_the_views_of_all_rows():
    step = step_of(experiment(accumulate=4))
    step.views = Centred()
    batches = micro_batches(step)
    assert step.views.calls == [slice(0, 16)]
    pixels = images()[0]["image"].float()
    for part, batch in enumerate(batches):
        rows = torch.arange(4 * part, 4 * part + 4)
        (view,) = batch.views
        assert torch.equal(batch.index, rows)
        assert torch.equal(view.data, (pixels - pixels.mean())[rows])
        assert torch.equal(view.box[:, 0], rows)
        assert torch.equal(view.facts["row"], rows)
        assert torch.equal(view.facts["run"].lengths, rows)
        assert torch.equal(view.facts["run"].values, torch.repeat_interleave(rows, rows))


def test_images_give_the_same_bits_in_parts_as_in_one_piece():
    """Each image's views are its own, so only those of one micro-batch need to be held."""
    whole, parts = step_of(experiment(accumulate=4)), step_of(experiment(accumulate=4))
    assert parts.views.rows_are_independent
    whole.views.rows_are_independent = False
    for one, other in zip(micro_batches(whole), micro_batches(parts), strict=True):
        assert torch.equal(one.index, other.index)
        for view, same in zip(one, other, strict=True):
            assert torch.equal(view.data, same.data)
            assert torch.equal(view.box, same.box)
            assert torch.equal(view.transform, same.transform)


def test_views_of_a_runs_first_samples_are_kept_as_it_trained_on_them():
    step = step_of(experiment())
    batches = micro_batches(step)
    assert step.first_views is None, "of the first step alone"
    step(*images(), 0)
    (batch,) = micro_batches(step_of(experiment()), 0)
    assert torch.equal(step.first_views.index, torch.arange(8))
    for kept, view, later in zip(step.first_views, batch, batches[0], strict=True):
        assert torch.equal(kept.data, view.data[:8])
        assert not torch.equal(kept.data, later.data[:8])


def test_all_micro_batches_have_the_style_of_one_image_of_the_whole_batch():
    config = experiment(accumulate=4).model_dump(mode="json")
    config["views"] |= {"batch_style": 1.0}
    once = copy.deepcopy(config)
    once["train"] |= {"accumulate": 1}
    (whole,) = micro_batches(step_of(from_mapping(once)))
    parts = micro_batches(step_of(from_mapping(config)))
    for view in range(2):
        found = torch.cat([batch.views[view].data for batch in parts])
        assert torch.equal(found, whole.views[view].data)


def test_precision_by_name():
    assert resolve_precision("float32", CPU, smallest=32) == "float32"
    assert resolve_precision("bf16", CPU, smallest=8) == "bf16"
    fast = torch.cpu.get_capabilities()
    expected = "bf16" if fast.get("amx_bf16") or fast.get("avx512_bf16") else "float32"
    assert resolve_precision("auto", CPU, smallest=24) == expected
    assert resolve_precision("auto", CPU, smallest=16) == "float32", (
        "oneDNN's bf16 loses gradients of one-pixel maps"
    )
