"""Text: bytes to tokens, vocabularies that are learnt, given and carried along."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manta.errors import ConfigError
from manta.modalities import BadSample, Draw
from manta.modalities.text import Text, TextConfig, TextDecoder
from manta.modalities.text.learning import GivenVocabulary, VocabularyLearner, vocabulary_at

ROWS = [
    b"What is the capital of France ?",
    b"What films featured the character Popeye Doyle ?",
    "How do you say \u201cBürkina\u201d in 日本語 ?".encode(),
    b"Who was the first person in space ?",
]
LONG = " ".join(f"word{number}" for number in range(300)).encode()


def learnt(size: int = 400, *, lowercase: bool = True) -> dict[str, object]:
    return VocabularyLearner(size, 100, lowercase)(ROWS * 3)


def text(tokens: int = 16, **stats: object) -> Text:
    return Text(TextConfig(source="x", tokens=tokens), learnt() | stats)


def decoder(tokens: int = 16) -> TextDecoder:
    return text(tokens).decoder()


def test_tokens_are_read_back() -> None:
    vocabulary = text(64).vocabulary
    for row in ROWS:
        ids = decoder(64)(row, None)["text"]
        assert ids.dtype == np.int32
        assert vocabulary.read(ids) == row.decode().lower()
        assert ids.max() < vocabulary.size


def test_capitals_stay_where_they_are_wanted() -> None:
    vocabulary = Text(TextConfig(source="x"), learnt(lowercase=False)).vocabulary
    assert vocabulary.read(vocabulary.ids("Popeye")) == "Popeye"


def test_any_text_has_tokens_that_are_known() -> None:
    vocabulary = text().vocabulary
    for odd in ("\u2603", "a\u200bb", "\U0001f600", "ﷺ", "."):
        ids = vocabulary.ids(odd)
        assert len(ids)
        assert set(ids.tolist()) <= set(vocabulary.ordinary.tolist())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"caf\xe9", r"not UTF-8: byte 0xe9 at 3"),
        (b"", "has no text"),
        (b" \t\r\n\x00 ", "has no text"),
        ("\u200b\u2060 \u3000".encode(), "has no text"),
        (b"\xed\xa0\x80", "not UTF-8"),
    ],
)
def test_what_is_no_text_is_bad(data: bytes, reason: str) -> None:
    for look in (lambda: text().inspector()(data, measure=True), lambda: decoder()(data, None)):
        with pytest.raises(BadSample, match=reason):
            look()


def test_marks_and_control_characters_are_read_over() -> None:
    plain = decoder()(b"a b", None)["text"]
    for odd in (b"\xef\xbb\xbfa b", b"a\x00b", b"a\nb", b"a b\r\n"):
        assert decoder()(odd, None)["text"].tolist() == plain.tolist()


def test_a_stretch_of_a_longer_row_is_drawn_and_its_beginning_evaluated() -> None:
    one = decoder(8)
    assert one.draws
    whole = decoder(8192)(LONG, None)["text"].tolist()
    assert one(LONG, None)["text"].tolist() == whole[:8]
    seen = set()
    for index in range(20):
        part = one(LONG, Draw(0, 0, index))["text"].tolist()
        assert part == one(LONG, Draw(0, 0, index))["text"].tolist()
        assert len(part) == 8
        seen.add(tuple(part))
    assert len(seen) > 15


def test_ten_megabytes_are_read_in_part_and_at_once() -> None:
    one, line = decoder(8), LONG * 5000
    assert len(line) > 10_000_000
    for draw in (None, *(Draw(0, 0, index) for index in range(50))):
        assert len(one(line, draw)["text"]) == 8
    kept = text(8).inspector()(line, measure=True)
    assert kept.length == len(line)
    blank = b" " * 5_000_000 + b"word" + b" " * 5_000_000
    ids = one(blank, None)["text"].tolist()
    assert ids == one(b"word", None)["text"].tolist() == one(blank, Draw(0, 0, 3))["text"].tolist()


def test_a_part_does_not_cut_a_character() -> None:
    one, line = decoder(4), ("日本" * 5000).encode()
    for index in range(50):
        read = text().vocabulary.read(one(line, Draw(0, 0, index))["text"])
        assert read.strip("\ufffd")


def test_nothing_is_drawn_of_rows_that_are_short() -> None:
    assert text(64, bytes={"most": 63}).decoder().draws is False
    assert text(64, bytes={"most": 64}).decoder().draws is True


def test_a_vocabulary_is_the_same_wherever_it_is_learnt() -> None:
    script = (
        "from manta.modalities.text.learning import VocabularyLearner\n"
        f"print(VocabularyLearner(400, 100, True)({ROWS * 3!r})['vocabulary']['digest'])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ended.stdout.decode().strip() == text().vocabulary.digest


def test_a_decoder_travels() -> None:
    one = pickle.loads(pickle.dumps(decoder()))
    assert one(ROWS[0], None)["text"].tolist() == decoder()(ROWS[0], None)["text"].tolist()


def test_a_vocabulary_is_given_as_a_file_or_the_folder_of_a_dataset(tmp_path: Path) -> None:
    vocabulary = text().vocabulary
    (tmp_path / "tokenizer.json").write_text(vocabulary.text)
    assert vocabulary_at(str(tmp_path / "tokenizer.json")) == vocabulary
    assert vocabulary_at(str(tmp_path)) == vocabulary
    config = TextConfig(source="x", vocabulary=str(tmp_path))
    learner = Text(config, {}).learner()
    assert isinstance(learner, GivenVocabulary)
    assert learner([]) == {"vocabulary": vocabulary.record()}
    assert vocabulary.digest in repr(Text(config, {}).inspector())
    # A dataset keeps what it was ingested with, whatever has become of the file.
    (tmp_path / "tokenizer.json").unlink()
    assert Text(config, learnt()).vocabulary == vocabulary


def test_a_dataset_with_another_vocabulary_than_the_one_that_is_named_is_refused(
    tmp_path: Path,
) -> None:
    place = tmp_path / "tokenizer.json"
    place.write_text(text().vocabulary.text)
    config = TextConfig(source="x", vocabulary=str(place))
    Text(config, learnt()).check_learnt()
    Text(config, {}).check_learnt()
    with pytest.raises(ConfigError, match=r"not that of the dataset, .* leave it out"):
        Text(config, learnt(350)).check_learnt()
    place.unlink()
    Text(config, learnt(350)).check_learnt()  # what the dataset has is all that there is


def test_a_vocabulary_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "tokenizer.json"
    wrong.write_text('{"no": "tokenizer"}')
    empty = tmp_path / "empty"
    empty.mkdir()
    for place in (wrong, empty, tmp_path / "missing.json"):
        with pytest.raises(ConfigError, match=r"^data.vocabulary[^\n]*$"):
            Text(TextConfig(source="x", vocabulary=str(place)), {}).inspector()


def test_what_changes_a_dataset_is_in_the_inspectors_text() -> None:
    texts = {
        repr(Text(TextConfig(source="x", **settings), {}).inspector())  # type: ignore[arg-type]
        for settings in ({}, {"vocabulary_size": 500}, {"lowercase": False}, {"tokens": 8})
    }
    assert len(texts) == 3  # the longest row is a matter of decoding


def test_a_picture_has_the_words() -> None:
    one = text(64)
    picture = one.picture_of(ROWS[1])
    assert picture.caption == ROWS[1].decode().lower()
    assert picture.pixels.shape == (64, 64, 3)
    assert picture.pixels.min() < 100 < 255 == picture.pixels.max()
