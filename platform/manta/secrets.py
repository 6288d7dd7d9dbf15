"""Removal of passwords, tokens and secret keys from URLs and messages."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Shown in place of a secret."""

_SCHEME = r"(?P<scheme>[A-Za-z][\w+.\-]*)://"
_USER = r"[^:/?#@\s\"'<>]*"
_NAMES = "password|passwd|pwd|secret|token|signature|credential|api[_-]?key|access[_-]?key"

# `user:password@`. The password may hold `@`, and also `/`, as the keys of S3 do; but digits
# before a `/` are a port, and an `@` behind them belongs to the path.
_IN_AUTHORITY = re.compile(
    rf"(?P<before>{_SCHEME}{_USER}:)"
    r"(?:[^/?#\s\"<>]*|(?!\d+[/?#])[^@?#\s\"<>]*)@"
)
# `token@`, as `git clone` and hubs take it, or a store's key. A lone user of a database or of a
# remote shell is a name.
_NAMED_USERS = r"(?:postgres|mysql|mariadb|mssql|oracle|ssh|sftp|git\+ssh)[\w+.\-]*://"
_LONE_TOKEN = re.compile(
    rf"(?P<before>(?<![\w+.\-])(?!{_NAMED_USERS})[A-Za-z][\w+.\-]*://)[^:/?#@\s\"'<>]+@"
)
# `?password=...`, `&X-Amz-Signature=...`, and words such as libpq's `password=...`.
_ASSIGNED = re.compile(
    rf"(?P<before>(?:[?&;]sig|(?<![\w\-])[\w\-]*(?:{_NAMES})(?:[_-]?id)?)=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^&;#\s\"'<>,)\]}]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)[\w.~+/=\-]{8,}")


def without_secrets(text: str) -> str:
    """Return a URL, message, traceback or YAML text with each secret replaced by `***`.

    This hides passwords in URLs of any scheme, lone tokens in URLs, values of parameters with the
    name of a secret (`password=`, `token=`, `X-Amz-Signature=`), and bearer tokens. User names
    stay: before a password, and those of databases. A second call changes nothing more.
    """
    text = _IN_AUTHORITY.sub(rf"\g<before>{HIDDEN}@", text)
    text = _LONE_TOKEN.sub(rf"\g<before>{HIDDEN}@", text)
    text = _ASSIGNED.sub(rf"\g<before>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<before>{HIDDEN}", text)


def is_masked(text: str) -> bool:
    """Return whether a secret was removed from `text`, so that it can no longer be used."""
    return HIDDEN in text and without_secrets(text) == text
