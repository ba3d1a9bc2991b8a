"""Scoring in two processes whose parent is killed in the middle: `python -m tests.killed_scoring CACHE LOG`."""

import os
import signal
import sys
from pathlib import Path

from eval.scoring import workers
from eval.scoring.cache import ScoreCache
from eval.scoring.score import score
from tests.scored_pictures import Level, greys
from worldgen.progress import untracked


def killed_after(items, total, what):
    """A `Track` that kills its process before the last score is entered, which is one of the other process."""
    for number, item in enumerate(untracked(items, total, what)):
        if what == "scoring pictures" and number == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item


if __name__ == "__main__":
    cache, log = map(Path, sys.argv[1:])
    workers._Pace.worth_processes = lambda pace, left, processes: True
    score(greys(8), [Level(log)], ScoreCache(cache), 2, killed_after)
    sys.exit("it was not killed")
