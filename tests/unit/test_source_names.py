"""Names of files as text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta.data.names import shown


@pytest.mark.parametrize(
    "name", ["a.png", "Фото 1.jpg", "a b'c.png", "C:\\photos\\x.png", "\\u0041.png", "日本/é.png"]
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"\xff\\\xfe", r"\xff\\\xfe"),
        (rb"caf\xe9.png", r"caf\\xe9.png"),
        ("é\udce9".encode("utf-8", "surrogateescape"), r"é\xe9"),
    ],
)
def test_odd_bytes_are_shown(name: bytes, text: str) -> None:
    assert shown(os.fsdecode(name)) == text


def test_a_lone_surrogate_from_json_is_shown() -> None:
    assert shown("a\ud800") == r"a\ud800"
    assert shown(r"a\ud800") == r"a\\ud800"


@given(st.lists(st.sampled_from([b"\xff", b"\xe9", b"\\", b"x", b"f", b"e9", "é".encode()])))
def test_the_shell_reads_the_shown_name_back(parts: list[bytes]) -> None:
    name = b"".join(parts)
    text = shown(os.fsdecode(name))
    text.encode()  # it can be stored
    if text != os.fsdecode(name):
        assert _unquoted(text) == name


def _unquoted(text: str) -> bytes:
    """Return what `$'...'` makes of a text, by its rules for `\\xNN` and `\\\\`."""
    out, rest = b"", text
    while rest:
        if rest.startswith("\\\\"):
            out, rest = out + b"\\", rest[2:]
        elif rest.startswith("\\x"):
            out, rest = out + bytes([int(rest[2:4], 16)]), rest[4:]
        else:
            out, rest = out + rest[0].encode(), rest[1:]
    return out


def test_a_shell_opens_the_file_by_its_shown_name(tmp_path: Path) -> None:
    name = b"caf\xe9 1.png"
    (tmp_path / os.fsdecode(name)).write_text("there")
    text = shown(os.fsdecode(name))
    command = ["bash", "-c", f"cat $'{text}'"]
    assert subprocess.check_output(command, cwd=tmp_path, text=True) == "there"
