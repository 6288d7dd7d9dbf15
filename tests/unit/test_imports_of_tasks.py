"""What a decode task imports: no torch, which takes seconds and hundreds of megabytes."""

import subprocess
import sys

import pytest

HEAVY = "import sys, {module}\nprint(sorted({{'torch', 'torchvision', 'timm'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    "module",
    [
        "manta.data.stream",
        "manta.leaves",
        "manta.modalities",
        "manta.modalities.image",
        "manta.modalities.text",
    ],
)
def test_a_decode_task_starts_without_torch(module: str) -> None:
    script = HEAVY.format(module=module)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ended.stdout.decode().strip() == "[]"
