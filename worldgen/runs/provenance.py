"""Where a run's code and machine come from: the commit, the packages, the host. For whoever compares runs later."""

import os
import platform
import re
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from worldgen.processors import usable_cores

_SOURCE = Path(__file__).parents[1]
_PATIENCE_S = 10.0
_NAME = re.compile(r"[\w.-]+")


@cache
def git_commit() -> str | None:
    """The commit of this code, 40 hex digits, with `-dirty` where tracked files differ from it; None where the code is
    no checkout of its own, or git is not there."""
    asked = ["git", "-C", str(_SOURCE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 and _is_checked_out() else None


def _is_checked_out() -> bool:
    """Whether the checkout is that of this code, not of a folder that it was installed into."""
    return any((folder / ".git").exists() for folder in (_SOURCE, _SOURCE.parent))


@cache
def package_versions() -> dict[str, str]:
    """Versions of Python, of worldgen, and of whatever of its requirements is installed, extras included."""
    found = {"python": platform.python_version()}
    try:
        wanted = ["worldgen", *(metadata.requires("worldgen") or ())]
    except metadata.PackageNotFoundError:
        return found
    for name in sorted({match[0] for requirement in wanted if (match := _NAME.match(requirement))}):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """host, system, cpus (that this process may use), gpu (None without one in use), and Slurm's job where there is
    one."""
    job = os.environ.get("SLURM_JOB_ID")
    about = {"host": socket.gethostname(), "system": platform.platform(), "cpus": usable_cores()}
    return about | {"gpu": gpu_name()} | ({"slurm_job": job} if job else {})


def gpu_name() -> str | None:
    """The GPU that torch would use; None without one, and where this process has not imported torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
