"""Encoders as people name and set them: a dry run builds them, or says in one line what fits."""

from __future__ import annotations

import json
from pathlib import Path

from odd.case import Command

RUN = ("train", "digits", "train.epochs=1", "--dry-run")
BUILT = "encoder_parameters: "
TIMM = {
    "architecture": "test_resnet",
    "num_classes": 0,
    "pretrained_cfg": {"input_size": [3, 32, 32]},
}


def nothing(_folder: Path) -> None:
    """Leave the folder empty."""


def described(**description: object):
    """Return a function that writes a folder `my enc` with timm's config.json."""

    def make(folder: Path) -> None:
        (folder / "my enc").mkdir()
        (folder / "my enc" / "config.json").write_text(json.dumps(TIMM | description))

    return make


def empty_folder(folder: Path) -> None:
    (folder / "my enc").mkdir()


def refused(name: str, error: str, *words: str, make=nothing) -> Command:
    return Command(f"encoders/{name}", make, words=[*RUN, *words], error=error)


def built(name: str, *words: str, make=nothing, output: str = BUILT) -> Command:
    return Command(f"encoders/{name}", make, words=[*RUN, *words], output=output)


NAMES = [
    built("tag", "encoder=test_resnet.r160_in1k", output="name: test_resnet.r160_in1k"),
    built("owner_and_tag", "encoder=timm/test_resnet.r160_in1k", output="name: test_resnet.r160"),
    built("hub_of_timm", "encoder=hf-hub:timm/test_resnet.r160_in1k", output="name: test_resnet"),
    built("hub_underscore", "encoder=hf_hub:timm/test_resnet.r160_in1k"),
    built("hub_address", "encoder=https://huggingface.co/timm/test_resnet.r160_in1k"),
    built("own_prefix", "encoder=timm:test_resnet", output="name: test_resnet"),
    built("local_dir", "encoder=local-dir:./my enc", make=described(), output="name: test_resnet"),
    built("path", "encoder=./my enc", make=described(), output="name: test_resnet"),
    built(
        "arguments_of_a_folder",
        "encoder=local-dir:my enc",
        make=described(model_args={"drop_rate": 0.25}),
        output="drop_rate: 0.25",
    ),
    built(
        "grey_folder",
        "encoder=local-dir:my enc",
        make=described(model_args={"in_chans": 1}),
        output="in_chans: 3",
    ),
    refused("capitals", "did you mean 'resnet18'", "encoder=ResNet18"),
    refused("dash", "did you mean 'resnet18'", "encoder=resnet-18"),
    refused("half_a_name", "did you mean 'vit_small_patch16_224'", "encoder=vit_small"),
    refused("no_such_tag", "no weights 'a9' of 'resnet18'", "encoder=resnet18.a9"),
    refused("dot", "did you mean 'resnet18'", "encoder=resnet18."),
    built("old_name", "encoder=vit_tiny_patch16_224_in21k"),
    refused(
        "no_weights_in_folder",
        "there are none",
        "encoder=./my enc",
        "encoder.pretrained=true",
        make=described(),
    ),
    refused("list_for_arguments", "no mapping", "encoder=./my enc", make=described(model_args=[1])),
    refused("torchvision", "timm's own is 'resnet18'", "encoder=torchvision/resnet18"),
    refused("no_prefix", "hf-hub:facebook/dinov2-small", "encoder=facebook/dinov2-small"),
    refused("no_folder", "encoder.name: no ", "encoder=local-dir:./nowhere"),
    refused("empty_folder", "holds no encoder", "encoder=./my enc", make=empty_folder),
    refused(
        "unknown_in_folder", "no model 'x'", "encoder=./my enc", make=described(architecture="x")
    ),
    refused("registered_model", "manta export models:/a@b", "encoder=models:/a@b"),
    refused("bucket", "copy it to one", "encoder=s3://bucket/enc"),
]
SIZES = [
    refused(
        "vit_30_px", "data.image_size=32", "encoder=vit_tiny_patch16_224", "data.image_size=30"
    ),
    refused("vit_8_px", "data.image_size=16", "encoder=test_vit", "data.image_size=8"),
    built("swin_32_px", "encoder=swin_tiny_patch4_window7_224", "data.image_size=32"),
    built("coatnet_32_px", "encoder=test_coatnet", "data.image_size=32"),
    built("beit_like_deit", "encoder=deit_tiny_patch16_224", "data.image_size=32"),
    refused("fixed", "data.image_size=224", "encoder=efficientformer_l1", "data.image_size=32"),
    refused(
        "img_size",
        "leave out encoder.args.img_size=64",
        "encoder=swin_tiny_patch4_window7_224",
        "encoder.args.img_size=64",
    ),
    refused(
        "local_views",
        "set views.local_size=",
        "objective=dino",
        "encoder=test_vit",
        "views.local_size=20",
    ),
    refused(
        "one_image_a_pass",
        "BatchNorm needs two",
        "objective=simsiam",
        "train.batch_size=2",
        "train.accumulate=2",
    ),
]
ARGUMENTS = [
    refused("in_chans", "3 channels", "encoder.args.in_chans=1"),
    refused("features_only", "one vector", "encoder.args.features_only=true"),
    refused("num_classes", "no classifier", "encoder.args.num_classes=10"),
    refused("no_pool", "without pooling", "encoder.args.global_pool=''"),
    refused("drop_path", "from 0 to below 1", "encoder.args.drop_path_rate=2"),
    refused("typo", "did you mean 'drop_path_rate'", "encoder.args.drop_path_rat=0.1"),
    refused("pretrained_word", "neither true, false", "encoder.pretrained=a1_in1k"),
    refused("no_weights", "there is no folder", "encoder.pretrained=local-dir:./nowhere"),
    refused("fp16", "write bf16", "train.precision=fp16"),
    refused("sixteen", "write bf16", "train.precision=16"),
    refused("tf32", "write float32", "train.precision=tf32"),
    refused("image_buckets", "images have no lengths", "data.buckets=true"),
    built("bf16_mixed", "train.precision=bf16-mixed", output="precision: bf16"),
    built("amp", "train.precision=amp", output="precision: auto"),
    refused("summary_nowhere", "mkdir -p", "--summary", "missing/out.json"),
    refused("summary_folder", "is a folder", "--summary", "."),
]
STARTS = [
    refused("start_missing", "encoder.start: no run named 'missing'", "encoder.start=missing"),
    refused("start_of_timm", "that name is timm:resnet18", "encoder.start=resnet18"),
    refused("start_empty", "my enc", "encoder.start=./my enc", make=empty_folder),
    refused(
        "start_unweighted",
        "encoder.start: the weights",
        "encoder.start=local-dir:my enc",
        make=described(),
    ),
    refused("start_and_pretrained", "leave one out", "encoder.start=a", "encoder.pretrained=true"),
    built("start_nothing", "encoder.start="),
    built("start_null", "encoder.start=null"),
]
COMMANDS = [*NAMES, *SIZES, *ARGUMENTS, *STARTS]
