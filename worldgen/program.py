"""How every program of ours begins and ends, as `python -m <name>` and as an installed command alike.

What lies in the working folder is never imported: a `train.py` of somebody's own there is not ours. Every locale can
print what we say. What a person can mend ends in one line, whichever program it is.
"""

import importlib
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

_HOME = Path(__file__).resolve().parents[1]  # of this package, and of train and eval beside it
_STATUS_BROKEN_PIPE = 141  # as a shell tells of a program that SIGPIPE ended


def run(module: str) -> NoReturn:
    """Ends the process with what `main(arguments)` of a module of ours returns."""
    leave_working_folder()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's locale lacks letters for
    sys.exit(_status(module))


worldgen = partial(run, "worldgen.cli")
splat = partial(run, "train.splat.cli")
controlnet = partial(run, "train.controlnet.cli")
evaluate = partial(run, "eval.cli")
compare = partial(run, "eval.compare.cli")
doctor = partial(run, "worldgen.doctor")
view = partial(run, "worldgen.view")
gallery = partial(run, "worldgen.gallery")
status = partial(run, "worldgen.status")


def leave_working_folder() -> None:
    """Takes the working folder, which `python -m` puts first, off the path that modules are looked for on, here and in
    processes to come; unless we come from there ourselves."""
    try:
        here = Path.cwd().resolve()
    except OSError:  # deleted
        here = None
    if here == _HOME:
        return
    if not sys.flags.safe_path and sys.path and _is_folder(sys.path[0], here):
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"


def _is_folder(entry: str, here: Path | None) -> bool:
    return entry == "" or (here is not None and Path(entry).resolve() == here)


def _status(module: str) -> int:
    try:
        status = importlib.import_module(module).main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _STATUS_BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        from worldgen.command import exit_status  # takes a moment, which a program that went well need not

        return exit_status(partial(_again, error), "fewer pictures")
    return status


def _again(error: BaseException) -> NoReturn:
    raise error
