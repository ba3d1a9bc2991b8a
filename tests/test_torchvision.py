"""The registry's torchvision beside a CPU torch. Fresh interpreters, because an import happens once."""

import subprocess
import sys

import pytest


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_torchvision_and_what_stands_on_it_import_after_worldgen():
    code = "import worldgen, torchvision, pytorch_lightning; print(torchvision.transforms.ToTensor.__name__)"
    assert run_python(code).strip() == "ToTensor"


def test_importing_worldgen_loads_no_torch():
    assert run_python("import sys, worldgen; print('torch' in sys.modules)").strip() == "False"
