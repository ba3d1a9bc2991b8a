"""mypy, as `make lint` runs it, tells an adapter whose signature is not its protocol's.

Adapters and protocols meet in YAML, where no type checker looks: here they are written down side by side.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.house import ROOT

pytest.importorskip("mypy")

PROTOCOLS = {  # config group -> what its choices are
    "fov": "FovEstimator",
    "prompts": "Prompter",
    "inpainter": "Inpainter",
    "refine": "Refiner",
    "depth": "PanoramaDepth",
    "completer": "ViewCompleter",
    "view_depth": "DepthEstimator",
}

TENSOR = """
from typing import Any
class Tensor:
    def __getattr__(self, name: str) -> Any: ...
def __getattr__(name: str) -> Any: ...
"""
"""torch in short. Libraries are not read, which takes minutes."""


def complaints(folder: Path, *lines: str) -> str:
    """What mypy says of a file of these lines; "" when nothing."""
    (folder / "torch.pyi").write_text(TENSOR)
    (folder / "adapters.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", "--no-site-packages"]
    environment = os.environ | {"MYPYPATH": str(folder), "MYPY_CACHE_DIR": str(folder.parent / "mypy")}
    done = subprocess.run([*command, folder / "adapters.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    return "\n".join(line for line in done.stdout.splitlines() if "adapters.py" in line and ": error:" in line)


def fulfils(protocol: str, target: str) -> list[str]:
    """Lines that are wrong where a class is not what a protocol asks for."""
    module, _, name = target.rpartition(".")
    return [
        f"import {module}",
        f"def {protocol}_{name}(adapter: {module}.{name}) -> worldgen.models.protocols.{protocol}:",
        "    return adapter",
    ]


def test_every_adapter_of_the_configs_is_what_its_group_asks_for(tmp_path):
    lines = ["import worldgen.models.protocols"]
    for group, protocol in PROTOCOLS.items():
        files = [yaml.safe_load(path.read_text()) or {} for path in (ROOT / "conf" / group).glob("*.yaml")]
        for target in sorted({file["_target_"] for file in files if "_target_" in file}):
            lines += fulfils(protocol, target)
    lines += fulfils("RoundInpainter", "worldgen.models.panorama_painter.PanoramaPainter")  # within panorama=native
    assert len(lines) > len(PROTOCOLS)
    assert complaints(tmp_path, *lines) == ""


CALL = "def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:"


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (CALL, True),
        (CALL.replace(", seeds: Sequence[int]", ""), False),
        (CALL.replace("prompts: Sequence[Prompt]", "prompts: int"), False),
        (CALL.replace("-> Tensor", "-> str"), False),
    ],
)
def test_an_adapter_with_another_signature_is_told(tmp_path, call, right):
    lines = [
        "from collections.abc import Sequence",
        "from torch import Tensor",
        "from worldgen.models.protocols import Adapter, Inpainter",
        "from worldgen.types import Prompt",
        "class Mine(Adapter):",
        f"    {call}",
        "        raise NotImplementedError",
        "mine: Inpainter = Mine()",
    ]
    found = complaints(tmp_path, *lines)
    assert (found == "") == right, found
