"""`make test-machines`: each setting alone, then a random order, and what failed is named at the end."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / ".ci" / "machines"
VARIABLES = ["MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NUMBA_CPU_NAME", "SEED"]
VARIABLES += ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"]


def run(tmp_path: Path, fails: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """The script with a command that notes its settings and arguments, and fails where `fails` is true."""
    command, log = tmp_path / "command", tmp_path / "log"
    command.write_text(f'env | grep -E "^({"|".join(VARIABLES)})=" >> "{log}"; echo "$@" >> "{log}"; ! {fails}\n')
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(["sh", SCRIPT, "sh", command, "-q"], env=environment, capture_output=True, text=True)
    return done, log.read_text().splitlines()


def test_every_setting_is_tried_alone_and_the_order_is_random_at_last(tmp_path):
    done, log = run(tmp_path, "false")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("every setting passed\n")
    settings, arguments = log[::2], log[1::2]
    assert {setting.partition("=")[0] for setting in settings} == set(VARIABLES)
    assert settings[:2] == ["MKL_CBWR=COMPATIBLE", "MKL_CBWR=AVX2"]
    seed = settings[-1].removeprefix("SEED=")
    assert arguments == ["-q"] * (len(settings) - 1) + [f"-q --random-order --random-order-seed={seed}"]


def test_what_failed_is_named_after_all_were_tried(tmp_path):
    done, log = run(tmp_path, '[ "${OMP_NUM_THREADS:-}${MKL_CBWR:-}" = 1 ]')
    assert done.returncode == 1
    assert done.stdout.endswith("failed with:\n  OMP_NUM_THREADS=1\n")
    assert log[-1].startswith("-q --random-order")
