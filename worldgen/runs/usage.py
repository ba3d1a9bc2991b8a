"""What a step costs and what it ran on: peak memory, and the versions of the packages that decide its result."""

import platform
import resource
import sys
from importlib import metadata
from threading import Event, Thread
from types import TracebackType
from typing import Any

import psutil

_EVERY_S = 0.05
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
_PACKAGES = ("worldgen", "torch", "numba", "openvino", "numpy")


class PeakMemory:
    """`with PeakMemory() as peak: ...`, then `peak.mb`: the most resident memory of this process meanwhile, and
    `peak.gpu_mb`: the most that torch held on the GPU, None where it used none.

    A thread samples it. Code that keeps the thread from running cannot hide a new high for the whole process, which the
    kernel keeps count of.
    """

    def __enter__(self) -> "PeakMemory":
        self._process = psutil.Process()
        self._highest_before = _highest_ever()
        self._peak = 0
        self._gpu_peak: int | None = None
        if (cuda := _cuda_in_use()) is not None:
            cuda.reset_peak_memory_stats()
        self._done = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        highest = _highest_ever()
        if highest > self._highest_before:
            self._peak = max(self._peak, highest)
        if (cuda := _cuda_in_use()) is not None:
            self._gpu_peak = cuda.max_memory_allocated()

    @property
    def gpu_mb(self) -> float | None:
        """Megabytes (10^6 bytes); None without a GPU."""
        return None if self._gpu_peak is None else round(self._gpu_peak / 1e6, 1)

    @property
    def mb(self) -> float:
        """Megabytes (10^6 bytes)."""
        return round(self._peak / 1e6, 1)

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, self._process.memory_info().rss)
            if self._done.wait(_EVERY_S):
                return


def versions() -> dict[str, str]:
    """Name to version of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cuda_in_use() -> Any:
    """torch.cuda, where this process has imported torch and begun to use a GPU; else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _highest_ever() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
