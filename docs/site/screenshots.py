"""Take the pictures of the gallery from pages that Manta wrote.

    python docs/site/screenshots.py run=manta-runs/first/report.html study=... explore=...

Needs Debian's package chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "images"
WIDTH, HEIGHT = 1280, 1500
COLOURS = 160
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
PATIENCE = "--virtual-time-budget=8000"  # milliseconds of the page's own time, for its figures


def take(page: Path, picture: Path) -> None:
    """Write a picture of the top of a page, small enough for a repository."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "shot.png"
        subprocess.run(
            [
                *("chromium", *QUIET, PATIENCE, f"--user-data-dir={scratch}/profile"),
                *(f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}", page.as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=180,
        )
        with Image.open(shot) as image:
            small = image.convert("RGB").resize((WIDTH * 3 // 4, HEIGHT * 3 // 4), Image.LANCZOS)
            small.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        name, _, path = word.partition("=")
        started = time.monotonic()
        take(Path(path).resolve(), IMAGES / f"{name}.png")
        size = (IMAGES / f"{name}.png").stat().st_size // 1000
        print(f"{name}: {size} kB, {time.monotonic() - started:.0f} s")
