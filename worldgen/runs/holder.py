"""Who works in a run folder, or did last: what the lock file says, and a sign of life that machines elsewhere can see.

1234 on node17, job 12_3        the process, while it works: the file's time is at most half a minute old
done                            added at the end; or `stopped`, or `failed: why`. Nothing: it was killed
"""

import os
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOCK = ".lock"
BEAT_S = 30.0
_DEAD_S = 5 * BEAT_S  # without a sign of life; a shared file system may show one late
_SIGNED = re.compile(r"(?P<pid>\d+) on (?P<host>[^,\s]+)(?:, job (?P<job>\S+))?")


@dataclass(frozen=True)
class Holder:
    """job: of Slurm's, empty without; outcome: `done`, `stopped`, `failed: why`, or empty; seen: seconds since 1970 of
    its last sign of life."""

    pid: int
    host: str
    job: str
    outcome: str
    seen: float

    @property
    def is_alive(self) -> bool:
        """Whether it works there now, as far as can be seen from here."""
        if self.outcome or time.time() - self.seen > _DEAD_S:
            return False
        return self.host != _host() or _is_process(self.pid)


def signature() -> str:
    """Of this process."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
    return f"{os.getpid()} on {_host()}" + (f", job {job}" if job else "")


def sign_off(lock: IO[str], error: BaseException | None) -> None:
    """Adds how the work ended to the lock file that its holder signed."""
    with suppress(OSError):  # a full disk: then it looks killed
        lock.write(f"\n{_outcome(error)}")
        lock.flush()


def holder_of(root: Path) -> Holder | None:
    """Who works in the run folder `root`, or did last; None where nobody says."""
    try:
        text = (root / LOCK).read_text(encoding="utf-8", errors="replace")
        seen = (root / LOCK).stat().st_mtime
    except OSError:
        return None
    first, _, outcome = text.partition("\n")
    signed = _SIGNED.match(first)
    if not signed:
        return None
    return Holder(int(signed["pid"]), signed["host"], signed["job"] or "", outcome.strip(), seen)


class Heartbeat:
    """Touches a file twice a minute until it is stopped, from a thread that ends with the process."""

    def __init__(self, path: Path) -> None:
        self._path, self._ended = path, threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError):
                os.utime(self._path)

    def stop(self) -> None:
        """No more of it."""
        self._ended.set()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    if isinstance(error, Exception):
        return f"failed: {' '.join(str(error).split()) or type(error).__name__}"
    return "stopped"  # Ctrl-C, SIGTERM, a job that is queued again


def _host() -> str:
    return socket.gethostname()


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True
