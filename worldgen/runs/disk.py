"""Files that land whole or not at all, that survive a power cut, and that two processes do not write at once."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Puts a file's content, or a folder's list of names, on the disk for good."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def land(found: Path, path: Path) -> None:
    """Gives a whole file its final name, replacing what had it; both lie on one filesystem."""
    flush(found)
    found.replace(path)
    flush(path.parent)


@contextmanager
def landing(path: Path) -> Iterator[Path]:
    """A hidden sibling to write to, with the same suffix. It takes `path`'s name when the block ends, so that a file
    which has that name is whole; when the block fails it goes."""
    temporary = path.with_name(f".new-{path.name}")
    try:
        yield temporary
        land(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a small file so that `path` holds either the old text or the new one, whenever the process is killed.

    UTF-8; what a name holds that is none, from a disk of another encoding, as `\\udce9`: JSON reads it back.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        land(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[IO[str]]:
    """Holds the lock file `path`, which goes with the process that holds it, however it ends.

    Yields the open file, whose text its holder may use to say who it is. Raises BlockingIOError if another holds it and
    `wait` is False. Where the filesystem has no locks, there is none.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield file
