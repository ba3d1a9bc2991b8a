"""How many processors this process may use."""

import os


def usable_cores() -> int:
    """Cores; fewer than the machine has where a job was given some of them, on systems that tell (macOS does not)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
