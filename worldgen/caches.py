"""Where libraries keep what they compile and list, where packages and home are read-only: among temporary files.

numba looks beside our sources first, then in the user's cache, and refuses to import a kernel where it can write
neither; matplotlib complains in two lines.
"""

import atexit
import logging
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

KERNELS = "NUMBA_CACHE_DIR"

_log = logging.getLogger("worldgen")


def prepare() -> None:
    """Names a temporary folder to them, here and in processes to come, where no other can be written; says so once."""
    by_hand = os.environ.get(KERNELS)
    places = [Path(by_hand)] if by_hand else []
    if any(map(_takes_files, [*places, Path(__file__).parent / "geometry" / "__pycache__"])):
        return
    import platformdirs  # here, because most machines need it not

    users = platformdirs.user_cache_path("numba", appauthor=False)
    if users.is_absolute() and _takes_files(users):  # "~/.cache" where no home is known
        return
    try:
        folder = _temporary()
    except OSError:  # numba will say so where a kernel is asked for
        return
    found = f"{by_hand}: cannot be written" if by_hand else "neither the packages' folder nor a home can be written"
    _log.warning("numba: %s, so compiled kernels go to %s; %s names another folder", found, folder, KERNELS)
    os.environ[KERNELS] = str(folder)
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    if "numba" in sys.modules:  # which has read the variable already
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _temporary() -> Path:
    """One for this user, found again by the next process; another one where somebody else made that, for what lies in
    it is run. Raises OSError."""
    folder = Path(tempfile.gettempdir()) / f"worldgen-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
        if ours and _takes_files(folder):
            return folder
    fresh = Path(tempfile.mkdtemp(prefix="worldgen-"))
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    return fresh
