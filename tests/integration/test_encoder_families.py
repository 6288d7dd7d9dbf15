"""A small model of each family of timm at usual sizes: built, or one line on what fits."""

import pytest

from manta.encoders import EncoderConfig, build, check_fits
from manta.errors import ConfigError
from manta.spec import Spec

pytestmark = pytest.mark.long
NAMES = """
    halonet_h1 test_byobnet cait_xxs24_224 coat_tiny convit_tiny
    convmixer_768_32 test_convnext cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s
    cspnext_tiny davit_tiny deit_tiny_patch16_224 densenet121 dla46x_c dpn48b
    edgenext_xx_small efficientformer_l1 efficientformerv2_s0 test_efficientnet
    efficientvim_m1 efficientvit_b0 efficientvit_m0 vit_tiny_patch16_dinov3_qkvb fasternet_t0
    fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_b hgnetv2_b0
    hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small iformer_t inception_next_atto inception_v3
    inception_v4 lcnetv2_small levit_128s lowformer_b0 test_mambaout test_coatnet
    poolformerv2_s12 gmlp_ti16_224 lcnet_035 mobilevit_xxs mvitv2_tiny nest_tiny nextvit_small
    test_nfnet pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050 repvit_m1
    res2next50 resnest14d test_resnet resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18
    sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224
    swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224
    tresnet_m twins_svt_small visformer_tiny test_vit vit_tiny_r_s16_p8_224 test_vit_relpos
    vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw legacy_xception xception41p
    xcit_nano_12_p8_224
"""
FAILED = {"halonet_h1", "crossvit_tiny_240"}
"""Families that are made for images of another size alone."""


@pytest.mark.parametrize(("stem", "sizes"), [("default", (32, 96, 224)), ("small", (32,))])
@pytest.mark.parametrize("name", NAMES.split())
def test_a_family_at_usual_sizes(name: str, stem: str, sizes: tuple[int, ...]) -> None:
    built = []
    for size in sizes:
        try:
            config = EncoderConfig.model_validate({"name": name, "stem": stem})
            encoder = build(config, Spec.image(size))
            check_fits(encoder, config, Spec.image(size))
            built.append(size)
        except ConfigError as error:
            line = str(error)
            assert "\n" not in line
            assert len(line) < 400
            assert line.startswith("encoder")
    if stem == "default":
        assert 224 in built or name in FAILED
