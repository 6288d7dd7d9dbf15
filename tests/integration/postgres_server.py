"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def tool(name: str) -> str:
    """One of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which(name) or next(
        iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        raise AssertionError(f"{name} is not installed (Debian: apt-get install postgresql)")
    return str(Path(found).resolve())


@contextmanager
def postgres() -> Iterator[str]:
    """Start one; yields the URL of its empty database. PostgreSQL refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="manta-pg-", dir="/tmp"))  # sockets have short paths only
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    subprocess.run(
        [*user, tool("initdb"), "-D", data, "-U", "manta", "--auth=trust"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = ["-D", data, "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    process = subprocess.Popen(
        [*user, tool("postgres"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield f"postgresql://manta:secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*user, tool("pg_ctl"), "-D", data, "-m", "immediate", "stop"],
            capture_output=True,
            cwd="/",
        )
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
