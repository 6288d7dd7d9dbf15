"""Digest of the rows of a shard."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from manta.data._group_column import runs_of


def digest_of(table: pa.Table) -> str:
    """Return the SHA-256 of all rows: image bytes, paths, labels and groups, in order."""
    # Lengths come before the fields: without them, two different tables could run together into
    # the same bytes.
    digest = hashlib.sha256()
    columns = (table["bytes"], table["path"], table["label"])
    for batch in pa.table(columns, names=["bytes", "path", "label"]).to_batches():
        for data, path, label in zip(batch[0], batch[1], batch[2].to_pylist(), strict=True):
            image, name = data.as_buffer(), (path.as_py() or "").encode()
            digest.update(b"%d,%d,%s;" % (image.size, len(name), str(label).encode()))
            digest.update(image)
            digest.update(name)
    for group, rows in runs_of(table):
        digest.update(f"{group!r},{rows};".encode())
    return digest.hexdigest()
