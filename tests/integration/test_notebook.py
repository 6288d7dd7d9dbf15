"""An executed notebook: a method in a cell, an interrupt, and going on in the same kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from test_api_script import OWN

RECIPE = Path(__file__).resolve().parents[2] / "jobs/recipes/digits.yaml"
CELLS = [
    OWN,
    f"""
overrides = TINY | {{"train.epochs": 16, "train.checkpoint_every": 4}}
arguments = {{"data": "digits", "name": "cell", "overrides": overrides}}
arguments["recipe"] = "{RECIPE}"
""",
    """
import os, signal, threading, time
from pathlib import Path

def interrupt_after(steps, metrics=Path("manta-runs/cell/metrics.jsonl")):
    while not metrics.exists() or metrics.read_text().count("\\n") < steps:
        time.sleep(0.1)
    os.killpg(os.getpgid(0), signal.SIGINT)  # what "Interrupt the kernel" does

threading.Thread(target=interrupt_after, args=(8,), daemon=True).start()
manta.train(**arguments)
""",
    'manta.Run.open("cell").status',
    "run = manta.train(**arguments, resume=True)\nrun",
    "run.curves['loss'].dropna().index.tolist() == list(range(1, 49)), run.metrics['size'] > 0",
    "manta.train(**arguments, resume=True, progress=False).status",
]
INTERRUPTED = 2


class Recorded(NotebookClient):  # type: ignore[misc]
    """Keeps what cells showed on the way, which is gone when they end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shown: dict[int, list[str]] = {}

    def process_message(self, message: dict[str, Any], cell: Any, cell_index: int) -> Any:
        html = message["content"].get("data", {}).get("text/html", "")
        self.shown.setdefault(cell_index, []).append(html)
        return super().process_message(message, cell, cell_index)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The executed notebook, and the HTML that its cells showed."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[INTERRUPTED].metadata["tags"] = ["raises-exception"]
    client = Recorded(
        nbformat.v4.new_notebook(cells=cells),
        timeout=280,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}},
    )
    return client.execute(), client.shown


def text_of(cell: Any) -> str:
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


@pytest.mark.timeout(600)
def test_an_interrupt_ends_the_cell_and_not_the_kernel(notebook):
    executed, _ = notebook
    (error,) = [out for out in executed.cells[INTERRUPTED].outputs if out.output_type == "error"]
    assert error.ename == "KeyboardInterrupt"
    assert text_of(executed.cells[INTERRUPTED + 1]) == "'interrupted'"


def test_the_run_goes_on_in_the_same_kernel_with_the_method_of_a_cell(notebook):
    executed, _ = notebook
    assert text_of(executed.cells[5]) == "(True, True)"


def test_a_cell_shows_notes_a_bar_and_the_run(notebook):
    executed, shown = notebook
    cell = executed.cells[4]
    assert "training 'cell'" in text_of(cell)
    assert "ipywidgets" not in text_of(cell)
    assert any("<progress" in html and "train" in html for html in shown[4])
    assert not any("<progress" in str(output.get("data")) for output in cell.outputs)
    assert "<b>Run cell, finished</b>" in cell.outputs[-1]["data"]["text/html"]


def test_progress_can_be_off(notebook):
    executed, _ = notebook
    (output,) = executed.cells[6].outputs
    assert output["data"]["text/plain"] == "'finished'"
