"""Real data of each modality: the trained encoder, the untrained one, and what learns nothing.

    python benchmarks/modalities.py series [--seeds 3] [--only GunPoint,ETTh1] [--data DATA]

Every part is a module `_modalities_NAME.py` with a generator `rows(options)` that trains by
`manta.train`, one run for each seed, scores on the official test part (or on the groups left out),
and yields a `Row` for each measure. Settings are fixed in the module and are the same for all
tasks: nothing is chosen on a test part. The table is printed as it grows, and all of it is written
as JSON. What loses to its floor is shown losing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from pathlib import Path

from _modalities_row import HEAD, Options, Row, write

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

PREFIX = "_modalities_"
PARTS = sorted(
    path.stem.removeprefix(PREFIX)
    for path in Path(__file__).parent.glob(f"{PREFIX}*.py")
    if path.stem.removeprefix(PREFIX) not in ("row", "local")
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="../shared/data", help="folder of the data")
    parser.add_argument("--only", default="", help="names of tasks, with commas")
    parser.add_argument("--out", default="", help="JSON file; by default modalities-PART.json")
    parser.add_argument("--local", action="store_true", help="the loop alone, without Ray")
    parser.add_argument("--scratch", default="", help="folder of the runs; by default removed")
    words = parser.parse_args()
    out = Path(words.out or f"modalities-{words.part}.json")
    part = importlib.import_module(f"{PREFIX}{words.part}")
    rows: list[Row] = []
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as removed:
        options = Options(
            seeds=words.seeds,
            data=Path(words.data).resolve(),
            scratch=Path(words.scratch or removed).resolve(),
            local=words.local,
            only=tuple(filter(None, words.only.split(","))),
        )
        for row in part.rows(options):
            rows.append(row)
            print(row.line(), flush=True)
            write(out, rows, vars(words))


if __name__ == "__main__":
    main()
