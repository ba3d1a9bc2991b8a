"""A step in the making: the hidden folder that it is made in, and what a killed process left there for the next one.

A folder is used again only for what it was begun for, by the same versions of all packages; else it is swept away.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from worldgen.runs.disk import write_text
from worldgen.runs.usage import versions

FILENAME = ".attempt.json"


@dataclass
class Attempt:
    """key: what is made (the step's key and all versions); number: 1 for the first attempt; earlier_s: seconds that the
    attempts before this one took, as far as is known; began: seconds since 1970."""

    key: str
    number: int
    earlier_s: float
    began: float


@contextmanager
def attempt_at(folder: Path, key: str) -> Iterator[Attempt]:
    """Makes `folder` ready for another attempt at `key`, with what earlier ones landed there, and without what they
    were writing when they ended (names that begin with a dot). It stays there when the block fails."""
    made_of = "/".join([key, *(f"{name}={version}" for name, version in versions().items())])
    earlier = _load(folder)
    if earlier is None or earlier.key != made_of:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        attempt = Attempt(made_of, 1, 0.0, time.time())
    else:
        attempt = Attempt(made_of, earlier.number + 1, _seconds_until_last_file(folder, earlier), time.time())
        _sweep_half_written(folder)
    write_text(folder / FILENAME, json.dumps(asdict(attempt)) + "\n")
    try:
        yield attempt
    except BaseException:
        (folder / FILENAME).touch()  # the time until now counts
        raise


def _load(folder: Path) -> Attempt | None:
    try:
        return Attempt(**json.loads((folder / FILENAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _seconds_until_last_file(folder: Path, earlier: Attempt) -> float:
    """What the attempts so far took, up to the last file that they wrote: nobody saw when they were killed."""
    last = max(path.lstat().st_mtime for path in [folder, *folder.rglob("*")])
    return round(earlier.earlier_s + max(0.0, last - earlier.began), 3)


def _sweep_half_written(folder: Path) -> None:
    for path in sorted(folder.rglob(".*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
