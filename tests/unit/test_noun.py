"""What samples are called, in texts that were written of images."""

from __future__ import annotations

import pytest

from manta.data import Understanding
from manta.modalities import IMAGES, MODALITIES, Noun, noun_of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("812 images/s", "812 windows/s"),
        ("Images per second", "Windows per second"),
        ("is an image that can be read", "is a window that can be read"),
        ("An image is one row.", "A window is one row."),
        ("Chosen on every other image.", "Chosen on every other window."),
        ("image_size of ImageNet", "image_size of ImageNet"),
    ],
)
def test_a_text_of_images_is_said_of_windows(text: str, said: str) -> None:
    assert noun_of("series").said(text) == said
    assert noun_of("image").said(text) == text


def test_a_vowel_keeps_its_article() -> None:
    assert Noun("events", "event").said("an image of Images") == "an event of Events"


def test_every_modality_has_both_forms() -> None:
    nouns = {name: noun_of(name) for name in MODALITIES}
    assert nouns["audio"] == Noun("clips", "clip")
    assert nouns["image"] == noun_of(None) == IMAGES
    assert all(noun.singular != noun.plural for noun in nouns.values())


def test_samples_of_a_modality_that_is_not_here_are_rows() -> None:
    assert noun_of("smells").plural == "rows"


def test_lines_on_data_name_their_samples() -> None:
    assert Understanding(1797, modality="series").lines() == ["1,797 windows, no labels"]
    assert Understanding(1797).lines() == ["1,797 images, no labels"]
    assert "modality" not in Understanding(3, modality="audio").to_json()
