"""What pages show of a sample: its picture or its words, its caption and its sound."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from manta.evaluation import pictures
from manta.evaluation.pictures import kept_words_and_sounds
from manta.leaves import Packed
from manta.modalities import Picture, default_modality, is_captioned, noun_of
from manta.modalities.audio import Audio, AudioConfig
from manta.report import write_report
from manta.report.evaluation.page import write_evaluation
from manta.report.explore import EmbeddedImages, _context
from manta.report.parts import tiles
from manta.report.parts.template import render
from manta.report.parts.tiles import Looks
from page_reader import Page
from synthetic_evaluation import full, samples
from synthetic_run import make_run

PIXELS = np.zeros((64, 64, 3), dtype=np.uint8)
WORDS = [f"sentence {row} <b>" for row in range(90)]


def pictured(*sounds: bytes) -> list[Picture]:
    return [Picture(PIXELS, f"{len(sound)} bytes", sound) for sound in sounds]


def looks(*sounds: bytes) -> Looks:
    thumbnails = np.stack([PIXELS] * len(sounds))
    return Looks.of({"thumbnails": thumbnails, **kept_words_and_sounds(pictured(*sounds))})


def test_what_is_kept_is_found_again() -> None:
    found = looks(b"one", b"", b"three")
    assert found.captions == ["3 bytes", "0 bytes", "5 bytes"]
    assert found.sounds == [b"one", b"", b"three"]
    assert found.taken(np.array([2, 0])).sounds == [b"three", b"one"]
    assert kept_words_and_sounds([Picture(PIXELS)]) == {}, "images are kept as before"
    strange = {"thumbnails": np.stack([PIXELS] * 2), "captions": np.array(["one"])}
    assert Looks.of(strange, as_text=True) == Looks(strange["thumbnails"])


def test_too_many_sounds_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_SOUND", 12)
    found = looks(b"aaaa", b"bbbb", b"cccc", b"dddd", b"e")
    assert found.sounds == [b"aaaa", b"", b"cccc", b"", b"e"]


def test_a_page_holds_each_sound_once_and_no_more_than_it_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "MOST_SOUND", 60)
    found = looks(b"one", b"two", b"three")
    played = [found.tile(row, "clip").sound for row in (0, 0, 1, 2, 0)]
    assert played == [0, 0, 1, None, 0]
    assert base64.b64decode(found.played[1].rpartition(",")[2]) == b"two"


def test_a_clip_is_heard_at_a_rate_that_a_page_has_room_for() -> None:
    audio = Audio(AudioConfig(source="", sample_rate=16_000, longest=10), {})
    clip = (np.sin(np.arange(5 * 16_000) / 8) * 1.5).astype(np.float32)
    columns = {"audio": Packed(clip, np.array([len(clip)]))}
    with wave.open(io.BytesIO(audio.picture(columns).sound)) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (8_000, 16_000, 2)
        heard = np.frombuffer(file.readframes(16_000), "<i2")
    assert 30_000 < np.abs(heard).max() <= 32_767, "louder than full scale is not clipped"
    low = Audio(AudioConfig(source="", sample_rate=4_000, mels=16), {})
    with wave.open(io.BytesIO(low.picture(columns).sound)) as file:
        assert file.getframerate() == 4_000


def test_images_are_pictured_without_words_and_others_with_them() -> None:
    for name, has_words in (("image", False), ("series", True), ("audio", True), ("text", True)):
        modality = default_modality(name)
        assert modality is not None
        rows = modality.sampled(2, torch.Generator().manual_seed(0))
        shown = modality.pictured(rows)
        assert [bool(one.caption) for one in shown] == [has_words] * 2, name
        assert np.array_equal(modality.pictures(rows)[1].numpy(), shown[1].pixels)
        assert is_captioned(name) == (name == "text")
    assert not is_captioned("strange")
    assert not is_captioned(None)


def test_sentences_stand_as_words_on_the_page_of_an_evaluation(tmp_path: Path) -> None:
    found = full() | {"modality": "text"}
    found["samples"] = samples() | {"captions": np.array(WORDS)}
    page = Page(write_evaluation(found, tmp_path / "e.html"))
    assert "sentence 0 <b>" in page.text
    assert not page.all("img"), "words stand in place of pictures"
    assert '"words": true' in page.source
    found["modality"] = "series"
    page = Page(write_evaluation(found, tmp_path / "e.html"))
    assert "sentence 0" not in page.text
    assert any(one.get("title", "").startswith("sentence ") for one in page.all("img"))
    assert not page.all("button"), "nothing is heard"


def test_clips_are_heard_on_the_page_of_a_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", images=20, steps=30)
    path = folder / "artifacts" / "samples.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    sounds = [f"RIFF{row}".encode() for row in range(20)]
    arrays |= kept_words_and_sounds(pictured(*sounds))
    np.savez(path, **arrays)
    page = Page(write_report(folder))
    played = [one["data-sound"] for one in page.all("button") if "data-sound" in one]
    found = re.search(r"const SOUNDS = ({.*?});", page.source)
    assert found is not None
    uris = json.loads(found[1])
    assert set(played) == set(uris)
    for row, uri in uris.items():
        assert base64.b64decode(uri.removeprefix("data:audio/wav;base64,")) == sounds[int(row)]
    assert "Click one to hear it." in page.text
    plain = Page(write_report(make_run(tmp_path / "plain", images=20, steps=30)))
    assert "SOUNDS" not in plain.source


def explored(*, as_text: bool) -> EmbeddedImages:
    rows = 24
    vectors = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    paths, thumbnails = [f"{row}.txt" for row in range(rows)], np.stack([PIXELS[:48, :48]] * rows)
    words, noun = WORDS[:rows], noun_of("text")
    return EmbeddedImages(np.arange(rows), paths, vectors, thumbnails, None, noun, words, as_text)


def test_the_page_of_embeddings_knows_the_words() -> None:
    manifest = {"model": "m", "embedded": 24, "width": 4, "layer": None, "unreadable": 0}
    context = _context("out", manifest | {"digest": "d"}, explored(as_text=True))
    assert (context["data"]["captions"], context["data"]["words"]) == (WORDS[:24], True)
    page = render("explore.html", context)
    assert "sentence 3 \\u003cb\\u003e" in page, "markup in a sentence is text"
