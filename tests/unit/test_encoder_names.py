"""Names of encoders as timm's users type them: what each stands for, and where the weights are."""

import json
import shutil
import time

import pytest
import torch

from manta.config import from_mapping, load
from manta.encoders import EncoderConfig, TokenEncoder, build, check_known
from manta.encoders.catalogue import nearest_name
from manta.errors import ConfigError, RunError
from manta.modalities.image.preprocess import ImagePreprocess
from manta.models.find import model_folder
from manta.runs.build import untrained_encoder
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.serving.formats import export_model
from manta.spec import Spec
from manta.tracking import Tracker
from manta.tuning.space.read import read_space

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
RESNET = EncoderConfig(name="test_resnet")
VIT = EncoderConfig(name="test_vit", stem="small")


def exported(folder, config=RESNET, *, size=32):
    """Write the encoder of a config, of its own random weights, and return it."""
    torch.manual_seed(7)
    encoder = build(config, Spec.image(size)).eval()
    save_encoder(ExportedEncoder(encoder, ImagePreprocess(size, MEAN, STD)), folder, config=config)
    return encoder


def same(one, other) -> bool:
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        return bool(torch.allclose(one.eval()(x), other.eval()(x), atol=1e-5))


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("resnet18", "resnet18"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("timm:resnet18", "resnet18"),
        ("hf-hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("hf_hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("HF-HUB:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("https://huggingface.co/timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        (" resnet18.a1_in1k ", "resnet18.a1_in1k"),
        ("conv_autoencoder", "conv_autoencoder"),
    ],
)
def test_a_name_of_timm_needs_no_network(typed, name):
    config = EncoderConfig(name=typed)
    assert (config.name, config.pretrained, config.args) == (name, False, {})
    check_known(config.name)
    assert build(config, Spec.image(32)).embed_dim > 0


def test_a_tag_stays_with_the_weights_it_names():
    config = EncoderConfig(name="timm/resnet18.tv_in1k", pretrained=True)
    assert (config.name, config.pretrained) == ("resnet18.tv_in1k", True)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("ResNet18", "did you mean 'resnet18'"),
        ("resnet-18", "did you mean 'resnet18'"),
        ("vit_small", "did you mean 'vit_small_patch16_224'"),
        ("resnet18.a9_in1k", "no weights 'a9_in1k' of 'resnet18'; did you mean 'resnet18.a"),
        ("timm/resnet1800.a1_in1k", "no model 'resnet1800.a1_in1k'; did you mean"),
        ("torchvision/resnet18", "timm's own is 'resnet18'"),
        ("torchvision:resnet18", "timm's own is 'resnet18'"),
        ("resnet18.", "did you mean 'resnet18'"),
        ("facebook/dinov2-small", "hf-hub:facebook/dinov2-small"),
        ("local-dir:nowhere", "no .*nowhere"),
        ("./nowhere", "no .*nowhere"),
        ("models:/manta@champion", "manta export models:/manta@champion --format timm"),
        ("s3://bucket/enc", "copy it to one"),
        ("a/b/c:d", "neither a model nor a folder"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_line(tmp_path, monkeypatch, typed, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        build(EncoderConfig(name=typed), Spec.image(32))
    assert str(caught.value).startswith("encoder.name: ")
    assert "\n" not in str(caught.value)


def test_the_nearest_name_ignores_case_and_dashes():
    assert nearest_name("EfficientNet-B0") == "efficientnet_b0"
    assert nearest_name("deit_small") == "deit_small_patch16_224"
    assert nearest_name("zzzzqqqq") is None


@pytest.mark.parametrize(
    "typed",
    ["local-dir:./my enc #1", "./my enc #1", "local_dir:my enc #1", "LOCAL-DIR:./my enc #1"],
)
def test_an_exported_folder_is_its_model_and_its_weights(tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    encoder = exported(tmp_path / "my enc #1")
    config = EncoderConfig(name=typed, pretrained=True)
    assert config.name == "test_resnet"
    assert config.pretrained == f"local-dir:{tmp_path / 'my enc #1'}"
    # A worker has another working directory.
    monkeypatch.chdir("/")
    again = EncoderConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert same(build(again, Spec.image(32)), encoder)


def test_the_weights_are_taken_only_if_they_are_asked_for(tmp_path):
    encoder = exported(tmp_path / "enc")
    config = EncoderConfig(name=f"local-dir:{tmp_path / 'enc'}")
    assert config.pretrained is False
    assert not same(build(config, Spec.image(32)), encoder)


def test_a_folder_that_timm_cannot_read_is_read_by_manta(tmp_path):
    small = EncoderConfig(name="test_resnet", stem="small")
    encoder = exported(tmp_path / "enc", small)
    assert not (tmp_path / "enc" / "config.json").exists()
    config = EncoderConfig(name=f"local-dir:{tmp_path / 'enc'}", pretrained=True)
    assert (config.name, config.stem) == ("test_resnet", "small")
    assert same(build(config, Spec.image(32)), encoder)


def test_patches_stay_as_they_were_saved_at_another_size(tmp_path):
    exported(tmp_path / "enc", VIT)
    for remove in ("nothing", "config.json"):
        (tmp_path / "enc" / remove).unlink(missing_ok=True)
        config = EncoderConfig(name=f"local-dir:{tmp_path / 'enc'}")
        assert config.args["patch_size"] == 4
        assert build(config, Spec.image(64)).grid == (16, 16)


def test_the_folder_of_a_run_stands_for_its_encoder(tmp_path):
    encoder = exported(tmp_path / "first" / "encoder")
    config = EncoderConfig(name=str(tmp_path / "first"), pretrained="true")
    assert config.pretrained == f"local-dir:{tmp_path / 'first' / 'encoder'}"
    assert same(build(config, Spec.image(32)), encoder)


def test_arguments_of_the_user_win_over_those_of_the_folder(tmp_path):
    exported(tmp_path / "enc", EncoderConfig(name="test_resnet", args={"drop_rate": 0.3}))
    place = f"local-dir:{tmp_path / 'enc'}"
    kept = {"drop_rate": 0.3, "global_pool": "avg"}
    assert EncoderConfig(name=place).args == kept
    given = EncoderConfig(name=place, args={"drop_rate": 0.1, "drop_path_rate": 0.2})
    assert given.args == kept | {"drop_rate": 0.1, "drop_path_rate": 0.2}


def test_a_run_and_its_export_open_where_the_folder_is_gone(tmp_path):
    exported(tmp_path / "enc")
    tree = {
        "data": {"source": "digits"},
        "objective": {"name": "dcl"},
        "encoder": {"name": f"local-dir:{tmp_path / 'enc'}", "pretrained": True},
    }
    experiment = from_mapping(tree)
    start = untrained_encoder(experiment).eval()
    folder = tmp_path / "again"
    kept = ExportedEncoder(start, ImagePreprocess(32, MEAN, STD))
    save_encoder(kept, folder, config=experiment.encoder)
    shutil.rmtree(tmp_path / "enc")
    assert same(load_exported(folder).encoder, start)
    export_model(folder, "timm", tmp_path / "timm")
    assert json.loads((tmp_path / "timm" / "config.json").read_text())["architecture"] == (
        "test_resnet"
    )
    reopened = from_mapping(experiment.model_dump(mode="json"))
    assert reopened.fingerprint() == experiment.fingerprint()
    with pytest.raises(ConfigError, match=r"encoder\.pretrained: there is no folder"):
        untrained_encoder(reopened)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no encoder: neither config.json"),
        ({"config.json": "{"}, "config.json cannot be read"),
        ({"config.json": "[1]"}, "describes no encoder"),
        ({"config.json": '{"model_type": "vit"}'}, "the transformers library"),
        ({"config.json": '{"architecture": "resnet8000"}'}, "no model 'resnet8000'"),
        ({"config.json": '{"architecture": "test_resnet", "model_args": [1]}'}, "no mapping"),
        ({"manta.json": '{"encoder": 3}'}, "describes no encoder of Manta"),
    ],
)
def test_a_folder_without_an_encoder_is_one_line(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        EncoderConfig(name=f"local-dir:{tmp_path}")


def test_a_file_is_not_its_folder(tmp_path):
    exported(tmp_path / "enc")
    with pytest.raises(ConfigError, match="is a file, and the folder"):
        EncoderConfig(name=f"local-dir:{tmp_path / 'enc' / 'model.safetensors'}")


def test_weights_of_another_model_are_one_line(tmp_path):
    exported(tmp_path / "enc", EncoderConfig(name="test_resnet", stem="small"))
    config = EncoderConfig(name="test_vit", pretrained=f"local-dir:{tmp_path / 'enc'}")
    with pytest.raises(ConfigError, match=r"encoder\.pretrained: the weights in .* do not fit"):
        build(config, Spec.image(160))


@pytest.mark.parametrize(
    ("written", "value"),
    [("yes", True), ("off", False), (1, True), (0, False), ("hf_hub:a/b", "hf-hub:a/b")],
)
def test_pretrained_is_yes_no_or_a_place(written, value):
    assert EncoderConfig(pretrained=written).pretrained == value


def test_a_word_that_is_no_place_is_refused():
    with pytest.raises(ValueError, match="neither true, false nor local-dir:FOLDER"):
        EncoderConfig(pretrained="a1_in1k")


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    """Let nothing answer as the hub, and return its empty cache."""
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.mark.parametrize(
    ("name", "pretrained"), [("hf-hub:someone/else", False), ("resnet18.a1_in1k", True)]
)
@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_that_is_away_is_said_at_once(no_hub, monkeypatch, name, pretrained, offline):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    begun = time.monotonic()
    reason = "HF_HUB_OFFLINE is set" if offline else "127.0.0.1:9 does not answer"
    with pytest.raises(ConfigError, match=f"{reason}, and they are not in .*local-dir:FOLDER"):
        build(EncoderConfig(name=name, pretrained=pretrained), Spec.image(32))
    assert time.monotonic() - begun < 15
    assert constants.HF_HUB_OFFLINE is offline


def test_a_repository_in_the_cache_needs_no_hub(no_hub, tmp_path):
    encoder = exported(tmp_path / "enc")
    repository = no_hub / "models--someone--else"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(tmp_path / "enc", repository / "snapshots" / ("a" * 40))
    config = EncoderConfig(name="hf-hub:someone/else", pretrained=True)
    assert (config.name, config.pretrained) == ("test_resnet", "hf-hub:someone/else")
    assert same(build(config, Spec.image(32)), encoder)


def test_parts_of_a_concatenation_may_be_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = exported(tmp_path / "enc")
    args = {"encoder": {"name": "local-dir:./enc"}, "count": 2}
    config = EncoderConfig(name="concatenation", pretrained=True, args=args)
    monkeypatch.chdir("/")
    both = build(config, Spec.image(32))
    assert all(same(part, encoder) for part in both.parts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encoder.name=resnet18"], 0),
        (["encoder.name=resnet18.a1_in1k"], 1),
        (["encoder.name=local-dir:./enc"], 1),
        (["encoder.name=local-dir:./enc", "encoder.pretrained=true"], 0),
    ],
)
def test_weights_that_are_named_and_not_loaded_are_said(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "enc")
    notes = []
    load(None, ["data.source=digits", "objective.name=dcl", *words], notify=notes.append)
    assert len(notes) == said
    assert all("encoder.pretrained=true starts from those" in note for note in notes)


def test_a_model_of_timm_that_cannot_be_had_is_said_at_once(no_hub, tmp_path):
    reason = "could not load timm's weights of 'resnet18.a1_in1k' .*does not answer.*reachable"
    with (
        pytest.raises(RunError, match=reason),
        model_folder("timm:resnet18.a1_in1k", Tracker(runs_dir=str(tmp_path)), str(tmp_path)),
    ):
        pass


def test_a_relative_folder_in_a_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "enc")
    recipe = load(None, ["data.source=digits", "objective.name=dcl"])
    for place, refused in (("./enc", True), (str(tmp_path / "enc"), False)):
        text = f"space:\n  encoder.name: {{type: choice, choices: [resnet18, '{place}']}}\n"
        (tmp_path / "space.yaml").write_text(text)
        if not refused:
            read_space(tmp_path / "space.yaml", recipe)
            continue
        with pytest.raises(ConfigError, match=r"write the whole path of the folder, /.*enc"):
            read_space(tmp_path / "space.yaml", recipe)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there are none"),
        ({"model.safetensors": b"junk" * 9}, "SafetensorError"),
        ({"pytorch_model.bin": b"junk" * 9}, "cannot be loaded into 'test_resnet'"),
    ],
)
def test_weights_that_cannot_be_read_are_one_line(tmp_path, files, words):
    (tmp_path / "config.json").write_text('{"architecture": "test_resnet"}')
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    config = EncoderConfig(name=str(tmp_path), pretrained=True)
    with pytest.raises(
        ConfigError, match=rf"encoder\.pretrained: the weights in .*{words}"
    ) as caught:
        build(config, Spec.image(32))
    assert "\n" not in str(caught.value)


def test_an_old_name_of_timm_is_the_model_of_today():
    old = build(EncoderConfig(name="vit_tiny_patch16_224_in21k"), Spec.image(32))
    assert isinstance(old, TokenEncoder)
    assert old.grid == (2, 2)
