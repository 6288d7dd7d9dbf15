"""Proxies of the environment, which are for other machines and not for this one."""

from __future__ import annotations

import os
import socket

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def bypass_proxies() -> None:
    """Add this machine's names to `no_proxy`, if a proxy is set.

    MLflow's client and Ray's would otherwise send what is for a server here through the proxy,
    which cannot reach it.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    # Libraries read one spelling or the other; both get the words of both.
    stated = ",".join(filter(None, (os.environ.get(name) for name in ("no_proxy", "NO_PROXY"))))
    words = [word.strip() for word in stated.split(",") if word.strip()]
    if "*" in words:
        return
    words += [name for name in (*_LOCAL, socket.gethostname()) if name not in words]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(words))
