"""Whether an encoder takes the images of a run: one line that names what would fit, or silence."""

import re

import pytest
import torch
from torch import Tensor, nn

from manta.commands.app import _writable as checked_summary
from manta.config import from_mapping
from manta.encoders import (
    DenseEncoder,
    Encoder,
    EncoderConfig,
    TokenEncoder,
    build,
    check_fits,
    check_name_fits,
)
from manta.encoders.fitting import problem
from manta.encoders.timm import arguments
from manta.errors import ConfigError
from manta.spec import Spec
from manta.training.estimate import estimate
from manta.training.preflight import preflight


def refusal(name, size=32, *, views=(), **settings) -> str:
    """Return the one line that a config is refused with, and "" if it fits."""
    config = EncoderConfig(name=name, **settings)
    try:
        encoder = build(config, Spec.image(size))
        check_fits(encoder, config, Spec.image(size), others=map(Spec.image, views))
    except ConfigError as error:
        line = str(error)
        assert "\n" not in line
        return line
    return ""


def experiment(**sections):
    tree = {"data": {"source": "digits"}, "objective": {"name": "dcl"}}
    tree["encoder"] = {"name": "test_resnet"}
    return from_mapping(tree | sections)


@pytest.mark.parametrize(
    "name",
    [
        "test_convnext",
        "test_vit",
        "deit_tiny_patch16_224",
        "test_coatnet",
        "swin_tiny_patch4_window7_224",
        "tiny_vit_5m_224",
        "eva02_tiny_patch14_224",
        "levit_128s",
        "hiera_tiny_224",
    ],
)
@pytest.mark.parametrize("size", [32, 64])
def test_a_family_is_built_for_the_size_or_says_what_fits(name, size):
    line = refusal(name, size)
    assert line == "" or "fitting: data.image_size=" in line


def test_a_model_of_one_size_is_built_for_that_of_the_images():
    config = EncoderConfig(name="swin_tiny_patch4_window7_224")
    assert arguments(config, Spec.image(64)) == {"img_size": 64}
    # What fits as timm has it is left so: the same weights are drawn as ever.
    assert arguments(config, Spec.image(224)) == {}
    assert arguments(EncoderConfig(name="resnet18"), Spec.image(64)) == {}


@pytest.mark.parametrize(
    ("name", "size", "settings", "words"),
    [
        ("test_vit", 30, {}, ("divisible by patch size", "data.image_size=32", "stem=small")),
        ("test_vit", 8, {}, ("cannot take images of 8 px", "data.image_size=16")),
        ("efficientformer_l1", 32, {}, ("32 px", "data.image_size=224, its own")),
        ("csatv2", 32, {}, ("32 px", "data.image_size=64")),
        (
            "swin_tiny_patch4_window7_224",
            32,
            {"args": {"img_size": 64}},
            ("leave out encoder.args.img_size=64", "contradicts data.image_size"),
        ),
        ("test_vit", 160, {"args": {"patch_size": 0}}, ("cannot build 'test_vit'",)),
    ],
)
def test_a_size_that_does_not_fit(name, size, settings, words):
    line = refusal(name, size, **settings)
    assert line.startswith("encoder: ")
    for word in words:
        assert word in line


def test_what_is_advised_fits():
    assert refusal("test_vit", 32) == ""
    assert refusal("test_vit", 30, stem="small") == ""
    assert refusal("csatv2", 64) == ""


def test_local_views_must_fit_too():
    line = refusal("test_vit", 32, views=(32, 12))
    assert line.startswith("views.local_size: 'test_vit' cannot take local views of 12 px")
    assert "set views.local_size=16" in line
    assert refusal("test_vit", 32, views=(32, 16)) == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"in_chans": 1}, "in_chans: images come with 3 channels here, grey ones too"),
        ({"features_only": True}, "features_only: an encoder gives one vector"),
        ({"out_indices": [1]}, "out_indices: an encoder gives one vector"),
        ({"num_classes": 10}, "num_classes: an encoder has no classifier"),
        ({"global_pool": ""}, "global_pool: without pooling"),
        ({"global_pool": "sideways"}, "cannot build 'resnet18'"),
        ({"output_stride": 3}, "it requires `assert output_stride in (8, 16, 32)`"),
        ({"drop_path_rate": 2}, "drop_path_rate: must be a number from 0 to below 1"),
        ({"drop_rate": "much"}, "drop_rate: must be a number"),
        ({"drop_path_rat": 0.1}, "no such argument; did you mean 'drop_path_rate'"),
        ({"colour": 3}, "cannot build 'resnet18' with encoder.args.colour"),
        ({"pretrained": True}, "a setting of its own: encoder.pretrained"),
        ({"dtype": "float16"}, "the run chooses it: train.precision"),
        ({"device": "cuda"}, "resources.gpu"),
    ],
)
def test_an_argument_that_cannot_be_given(args, words):
    assert words in refusal("resnet18", args=args)


@pytest.mark.parametrize(
    "args", [{"in_chans": 3}, {"num_classes": 0}, {"features_only": False}, {"global_pool": "max"}]
)
def test_an_argument_that_changes_nothing_here_may_be_given(args):
    assert refusal("test_resnet", args=args) == ""


class Odd(Encoder):
    """An encoder whose output is made by a function of the images."""

    embed_dim = 4

    def __init__(self, output) -> None:
        super().__init__()
        self.norm, self.output = nn.BatchNorm2d(3), output

    def embed(self, x: Tensor) -> Tensor:
        return self.output(self.norm(x))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda x: x.new_full((len(x), 4), float("nan")), "not finite"),
        (lambda x: x.new_zeros(len(x), 5), "a vector of 4"),
        (lambda x: x, r"gives \[3, 32, 32\] numbers"),
        (lambda x: [x], "gives a list"),
        (lambda x: x / "2", "unsupported operand"),
        (lambda x: x.new_zeros(len(x), 4), None),
    ],
)
def test_the_trial_says_what_is_wrong_and_leaves_the_encoder_alone(output, words):
    encoder = Odd(output).eval()
    torch.manual_seed(3)
    before, generator = encoder.norm.running_mean.clone(), torch.get_rng_state()
    reason = problem(encoder, Spec.image(32))
    if words is None:
        assert reason is None
    else:
        assert re.search(words, reason)
    assert torch.equal(encoder.norm.running_mean, before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert not encoder.training


def test_relatives_of_transformers_are_no_token_encoders():
    eva = build(EncoderConfig(name="eva02_tiny_patch14_224"), Spec.image(28)).eval()
    assert not isinstance(eva, TokenEncoder)
    assert isinstance(eva, DenseEncoder)
    assert eva.feature_map(torch.randn(2, 3, 28, 28)).shape == (2, eva.dense_dim, 2, 2)


def test_a_name_is_tried_without_computing():
    check_name_fits(EncoderConfig(name="vit_large_patch16_224"), Spec.image(224))
    with pytest.raises(ConfigError, match="cannot take images of 30 px"):
        check_name_fits(EncoderConfig(name="test_vit"), Spec.image(30))


def test_a_dry_run_and_a_run_refuse_alike(tmp_path):
    one = experiment(
        data={"source": "digits", "image_size": 30}, encoder={"name": "vit_tiny_patch16_224"}
    )
    for check in (preflight, lambda given: estimate(given, str(tmp_path))):
        with pytest.raises(ConfigError, match=r"30 px.*data\.image_size=32"):
            check(one)


def test_views_of_the_objective_are_tried():
    one = experiment(
        data={"source": "digits", "image_size": 32},
        encoder={"name": "vit_tiny_patch16_224"},
        objective={"name": "dino"},
        views={"local_size": 20},
    )
    with pytest.raises(ConfigError, match=r"views\.local_size: .*local views of 20 px"):
        preflight(one)


def test_one_image_a_pass_is_too_few_for_batch_norm():
    with pytest.raises(ConfigError, match="leave one each, and BatchNorm needs two"):
        preflight(
            experiment(objective={"name": "simsiam"}, train={"batch_size": 2, "accumulate": 2})
        )


@pytest.mark.parametrize(
    ("written", "precision"),
    [
        *(("bf16-mixed", "bf16"), ("bf16-true", "bf16"), ("BF16", "bf16"), ("amp", "auto")),
        *(("32-true", "float32"), (32, "float32"), ("single", "float32"), ("mixed", "auto")),
    ],
)
def test_precisions_have_the_words_of_other_libraries(written, precision):
    assert experiment(train={"precision": written}).train.precision == precision


@pytest.mark.parametrize("written", ["fp16", "16", 16, "half", "float16", "16-mixed", "FP16"])
def test_float16_says_why_it_is_not_offered(written):
    with pytest.raises(ConfigError, match=r"train\.precision: .* not offered.*write bf16"):
        experiment(train={"precision": written})


def test_tf32_is_no_precision():
    with pytest.raises(ConfigError, match="write float32, or auto"):
        experiment(train={"precision": "tf32"})


def test_a_summary_that_cannot_be_written_is_said_first(tmp_path):
    (tmp_path / "file").write_text("")
    refused = {
        tmp_path: "is a folder",
        tmp_path / "missing" / "out.json": "mkdir -p",
        tmp_path / "file" / "out.json": "is a file",
    }
    for path, words in refused.items():
        with pytest.raises(ConfigError, match=f"--summary: .*{words}"):
            checked_summary(path)
    assert checked_summary(tmp_path / "out.json") == tmp_path / "out.json"
    assert checked_summary(None) is None


@pytest.mark.parametrize("name", ["lvm_med", "myow"])
def test_an_objective_that_needs_more_images_than_the_trial_has_is_not_refused(name):
    preflight(experiment(objective={"name": name}))


def test_an_objective_that_needs_maps_refuses_an_encoder_without():
    with pytest.raises(ConfigError, match="has no map of features, which the objective needs"):
        build(EncoderConfig(name="crossvit_9_240"), Spec.image(240)).feature_map(
            torch.zeros(1, 3, 240, 240)
        )
