"""A run that is killed in the middle of one step: `python -m tests.killed_run STEP OVERRIDE...`."""

import os
import signal
import sys
from pathlib import Path

from worldgen import pipeline, steps
from worldgen.config import compose
from worldgen.present.console import Reporter


def half_done(job: steps.Job, out: Path) -> None:
    (out / "half-written.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    victim, *overrides = sys.argv[1:]
    steps.PRODUCE[victim] = half_done
    pipeline.run(compose(None, overrides), Reporter(quiet=True))
    sys.exit(f"step {victim} never ran")
