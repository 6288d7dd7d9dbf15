"""The page in a real browser: nothing fails, nothing is fetched, nothing overflows, and the map
answers."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manta.report import write_report
from synthetic_run import make_run

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=3000",
]
# Collected before anything of the page runs, told after everything has.
FIRST = """<script>
window.troubles = [];
const failed = (event) => troubles.push(String(event.message || event.target.outerHTML));
const refused = (event) => troubles.push(event.violatedDirective + " " + event.blockedURI);
addEventListener("error", failed, true);
addEventListener("securitypolicyviolation", refused);
</script>"""
LAST = """<script>
addEventListener("load", () => {
  const answers = %s;
  const out = document.createElement("pre");
  out.id = "answers";
  out.textContent = JSON.stringify({troubles, ...answers});
  document.body.append(out);
});
</script>"""


def chromium(profile: Path, page: Path, *flags: str) -> str:
    program = shutil.which("chromium")
    assert program, "these tests need Debian's package chromium"
    command = [program, *QUIET, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def ask(folder: Path, page: Path, question: str, *flags: str) -> dict[str, Any]:
    """The answer to a JavaScript expression (an object) after the page has loaded, with what went
    wrong on the way."""
    probe = page.with_name("probe.html")
    text = (
        page.read_text()
        .replace("<head>", "<head>" + FIRST)
        .replace("</body>", LAST % question + "</body>")
    )
    probe.write_text(text)
    dom = chromium(folder / "profile", probe, "--dump-dom", *flags)
    found = re.search(r'<pre id="answers">(.*?)</pre>', dom, flags=re.DOTALL)
    assert found, "the page's script did not reach its end"
    answers: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answers


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "digits-dcl"))


WIDTH = "{page: document.documentElement.scrollWidth, screen: document.documentElement.clientWidth}"


def test_desktop(tmp_path: Path, page: Path) -> None:
    found = ask(tmp_path, page, WIDTH, "--window-size=1280,900")
    assert found == {"troubles": [], "page": 1280, "screen": 1280}


def test_phone(tmp_path: Path, page: Path) -> None:
    """Chromium's own windows are at least 500 px wide, so the phone is a frame of 360."""
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<head></head><body><iframe width=360 height=640 style='border:0' "
        f"srcdoc='{html.escape(page.read_text(), quote=True)}'></iframe></body>"
    )
    inside = "document.querySelector('iframe').contentDocument"
    sections = f"[...{inside}.querySelectorAll('main > section')]"
    cut = f"{sections}.filter((one) => one.scrollWidth > one.clientWidth).length"
    question = f"{{page: {inside}.documentElement.scrollWidth, cut: {cut}}}"
    found = ask(tmp_path, frame, question)
    assert found == {"troubles": [], "page": 360, "cut": 0}


def test_every_picture_is_there(tmp_path: Path, page: Path) -> None:
    broken = "[...document.images].filter((image) => !image.naturalWidth).length"
    question = f"{{count: document.images.length, broken: {broken}}}"
    found = ask(tmp_path, page, question)
    assert (found["count"], found["broken"]) == (144, 0)


def test_pointing_at_the_map_shows_the_image(tmp_path: Path, page: Path) -> None:
    question = """(() => {
      const maps = [...document.querySelectorAll("#maps svg")];
      const points = maps.map((map) => [...map.querySelectorAll("circle:not(.ring)")]);
      const at = (point) => { const box = point.getBoundingClientRect();
        return {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true}; };
      const peek = document.getElementById("peek");
      const before = peek.hidden;
      maps[1].dispatchEvent(new PointerEvent("pointermove", at(points[1][37])));
      const shown = !peek.hidden;
      const ring = maps[0].querySelector(".ring"), twin = points[0][37];
      const linked = ring.getAttribute("cx") === twin.getAttribute("cx");
      const position = peek.querySelector("i").style.backgroundPosition;
      const caption = peek.querySelector("span").textContent;
      maps[1].dispatchEvent(new PointerEvent("pointerleave"));
      const counts = points.map((one) => one.length);
      return {counts, before, shown, linked, position, caption, after: peek.hidden};
    })()"""
    found = ask(tmp_path, page, question, "--window-size=1280,900")
    assert found["troubles"] == []
    assert found["counts"] == [300, 300]
    assert (found["before"], found["shown"], found["after"], found["linked"]) == (
        True,
        True,
        True,
        True,
    )
    with np.load(page.parent / "artifacts" / "samples.npz") as stored:
        assert found["caption"] == f"label {stored['labels'][37]}"
    columns, rows = 18, 17  # 300 thumbnails: 37 is the second of the third row
    x, y = (float(part.rstrip("%")) for part in found["position"].split())
    assert (x, y) == pytest.approx((100 * 1 / (columns - 1), 100 * 2 / (rows - 1)), abs=0.01)


@pytest.mark.parametrize(("scheme", "dark"), [(0, True), (1, False)])
def test_colour_scheme(tmp_path: Path, page: Path, scheme: int, dark: bool) -> None:
    shot = tmp_path / "shot.png"
    flags = (
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--screenshot={shot}",
        "--window-size=1280,2600",
    )
    chromium(tmp_path / "profile", page, *flags)
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels[5, 5] < 40) == dark
    assert (np.median(pixels) < 60) == dark
    assert pixels.std() > 10


def test_stopped_run_in_a_browser(tmp_path: Path) -> None:
    page = write_report(
        make_run(tmp_path / "stopped", status="stopped", diagnosis="collapsed", steps=60)
    )
    found = ask(tmp_path, page, "{callout: document.querySelector('.callout strong').textContent}")
    assert found == {
        "troubles": [],
        "callout": "The watch stopped this run after step 59: collapsed",
    }
