"""What is shown of URLs and messages, and what is not."""

from __future__ import annotations

import json

import pytest
import yaml

from manta.secrets import is_masked, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@server:5000/x", "http://me:***@server:5000/x"),
        ("postgresql://me:pw@host/name", "postgresql://me:***@host/name"),
        ("postgresql+psycopg://me:p%40w@host/name", "postgresql+psycopg://me:***@host/name"),
        ("mysql://me:p@ss@host/name", "mysql://me:***@host/name"),
        ("redis://:pw@host", "redis://:***@host"),
        ("s3://AKIA2E:wJalr/XUtn+FEMI@bucket/birds", "s3://AKIA2E:***@bucket/birds"),
        ("s3://me:pa'ss@bucket/birds", "s3://me:***@bucket/birds"),
        ("s3://me:pw@bucket/a@b", "s3://me:***@bucket/a@b"),
        ("https://ghp_0123@github.com/x", "https://***@github.com/x"),
        ("hf://hf_0123@datasets/x", "hf://***@datasets/x"),
        ("s3://AKIA2E@bucket/birds", "s3://***@bucket/birds"),
        (
            "postgresql://host/name?user=me&password=pw",
            "postgresql://host/name?user=me&password=***",
        ),
        ("https://h/x?token=abc&page=2#top", "https://h/x?token=***&page=2#top"),
        ("https://h/x?access_token=abc", "https://h/x?access_token=***"),
        ("https://h/x?sv=1&sig=a%2Fb", "https://h/x?sv=1&sig=***"),
        (
            "s3://b/x?aws_access_key_id=AKIA2E&aws_secret_access_key=wJa/r",
            "s3://b/x?aws_access_key_id=***&aws_secret_access_key=***",
        ),
        (
            "https://b/x?X-Amz-Credential=AKIA2E%2F2&X-Amz-Signature=0f3a",
            "https://b/x?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("connection to host=h user=me password=pw failed", None),
        ("password='p w' is wrong", "password=*** is wrong"),
        ("Authorization: Bearer abcdefghij.klm", "Authorization: Bearer ***"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str | None) -> None:
    shown = text.replace("pw", "***") if shown is None else shown
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown
    assert is_masked(shown)
    assert not is_masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////runs/mlflow.db",
        "http://server:5000/a@b",
        "http://[::1]:5000",
        "postgresql://me@host/name",
        "postgresql+psycopg://me@host/name",
        "sftp://me@host/x",
        "s3://bucket/a:b@c",
        "mail@host: see s3://bucket/x",
        "models:/birds@champion",
        "objective.temperature=0.1 tokens=4 passwords: none",
        "https://h/p?q=a@b",
        json.dumps({"a": "s3://bucket", "b": "me@host"}, separators=(",", ":")),
        "Basic English",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
    assert not is_masked(text)


def test_every_secret_of_a_text_is_hidden() -> None:
    text = (
        'File "x.py", line 3, in connect\n'
        "  OperationalError: postgresql://me:first@a/x and mysql://me:second@b/y refused\n"
        "  retried https://h/?token=third&user=me (see s3://key:fourth@c/z)"
    )
    shown = without_secrets(text)
    for secret in ("first", "second", "third", "fourth"):
        assert secret not in shown
    assert shown.count("***") == 4
    assert "@a/x and mysql://me:" in shown
    assert "&user=me (see s3://key:" in shown


def test_yaml_stays_yaml() -> None:
    values = {"a": "s3://key:secret@host/x", "b": "mail@host", "c": ["https://u:p@h/p?q=a@b"]}
    shown = yaml.safe_load(without_secrets(yaml.safe_dump(values)))
    assert shown == {"a": "s3://key:***@host/x", "b": "mail@host", "c": ["https://u:***@h/p?q=a@b"]}
