"""What an offline run of wandb leaves on the disk; it may come there some milliseconds after the run's end."""

import time
from pathlib import Path

from eval.compare.wandb_files import read_offline
from worldgen.errors import UserError

_PATIENCE_S = 120


def begun(folder: Path) -> list[Path]:
    """The files of all runs that ended below `folder`, the oldest first, once they are whole."""
    files = list(folder.rglob("offline-run-*/*.wandb"))
    deadline = time.monotonic() + _PATIENCE_S
    while not all(map(_is_whole, files)):
        assert time.monotonic() < deadline, f"{folder}: a run has no end"
        time.sleep(0.01)
    return sorted(files, key=lambda file: read_offline(file).began_ns)


def _is_whole(file: Path) -> bool:
    try:
        return read_offline(file).state != "unfinished"
    except UserError:
        return False
