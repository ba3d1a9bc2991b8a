"""What the command lines share: one line and exit status 2 for what a person can mend, and sweeps by Hydra."""

import errno
import hashlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from worldgen.cluster import launcher
from worldgen.config import CONF_DIR, PROGRAMS, RUNS_DIR, check, defaults, groups, one_line_errors
from worldgen.errors import RunFailedError, UserError
from worldgen.paths import as_overrides, resolve, user_path

STATUS_USER_ERROR, STATUS_INTERRUPTED, STATUS_TERMINATED = 2, 130, 143
_DISK_SAYS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
_OUT_OF_MEMORY = "not enough memory; smaller sizes need less, for example "


def begin(
    arguments: Sequence[str],
    usage: str,
    choices: Callable[[], str],
    obey: Callable[[Sequence[str]], None],
    smaller: str,
) -> int:
    """How every program with a config begins and ends; returns the exit status.

    usage, choices: what --help prints, and so does a program that is asked for nothing; obey: does what is asked for,
    and raises UserError where it cannot; smaller: an override that makes it need less memory.
    """
    if not arguments or {"-h", "--help"}.intersection(arguments):
        print(usage + choices())
        return 0 if arguments else STATUS_USER_ERROR
    if "--version" in arguments:
        print(f"worldgen {metadata.version('worldgen')}")
        return 0
    return exit_status(partial(obey, arguments), smaller)


def exit_status(action: Callable[[], None], smaller: str) -> int:
    """Runs a command; returns its exit status. smaller: an override that makes it need less memory."""
    try:
        with told_in_one_line(smaller):
            action()
    except RunFailedError as error:
        print(f"not every run came out; the first that did not: {error}", file=sys.stderr)
        return STATUS_USER_ERROR
    except UserError as error:
        tell(error)
        return STATUS_USER_ERROR
    except SystemError as error:
        if not _is_interrupt(error):
            raise
        return _interrupted()
    except SystemExit as stop:
        if stop.code == STATUS_TERMINATED:
            print("stopped; the same command goes on from here", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else STATUS_USER_ERROR
    except KeyboardInterrupt:
        return _interrupted()
    return 0


def _interrupted() -> int:
    print("stopped; the same command goes on from here", file=sys.stderr)
    return STATUS_INTERRUPTED


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: Python makes SystemError of it where it comes within a numba kernel."""
    return isinstance(error, KeyboardInterrupt) or (
        error is not None and (_is_interrupt(error.__cause__) or _is_interrupt(error.__context__))
    )


def one_of_many(action: Callable[[], None], smaller: str) -> None:
    """One run of a sweep, in this process or in a Slurm job. Raises RunFailedError where a person can mend it, which
    does not keep the others from running."""
    try:
        with told_in_one_line(smaller):
            action()
    except UserError as error:
        tell(error)
        raise RunFailedError(str(error)) from error


def hydra_job(
    config: DictConfig, run: Callable[[DictConfig, Path | None], None], leave_out: Sequence[str], smaller: str
) -> None:
    """One job of Hydra's, of a program that is told its run folder: with -m one of its own in `out`, by the overrides
    but for those to leave out. Raises as `one_of_many`."""

    def action() -> None:
        hydra_config = HydraConfig.get()
        out = None if config.out is None else user_path(str(config.out))
        if hydra_config.mode == hydra.types.RunMode.MULTIRUN:
            out = (out or RUNS_DIR) / run_suffix(list(hydra_config.overrides.task), leave_out)
        with one_line_errors():
            resolve(config)
        run(config, out)

    one_of_many(action, smaller)


@contextmanager
def told_in_one_line(smaller: str) -> Iterator[None]:
    """Turns what a person can mend, and libraries report in their own ways, into UserErrors."""
    try:
        with one_line_errors():
            yield
    except OSError as error:
        raise _told(error) from error
    except MemoryError as error:
        raise UserError(_OUT_OF_MEMORY + smaller) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error) and "out of memory" not in str(error):
            raise
        raise UserError(_OUT_OF_MEMORY + smaller) from error


def _told(error: OSError) -> OSError | UserError:
    """What the disk says that a person can mend; what is ours to mend as it is."""
    if error.errno in _DISK_SAYS:
        return UserError(f"{error.filename or 'disk'}: {error.strerror}")
    if error.errno == errno.ENOENT and error.filename is None:
        if _is_gone():
            return UserError("working folder: deleted, wanted one that is there")
        return UserError(f"disk: {error.strerror}")  # tempfile's, which names the folders it tried
    return error


def _is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def tell(error: UserError) -> None:
    """To standard error; with its traceback if WORLDGEN_TRACEBACK is set."""
    print(f"error: {error}", file=sys.stderr)
    if os.environ.get("WORLDGEN_TRACEBACK"):
        traceback.print_exception(error)


def run_by_hydra(arguments: Sequence[str], root: str, job: Callable[[DictConfig], None]) -> None:
    """Sweeps, `--cfg`, `--info`, shell completion: Hydra's own command line. root: the file in conf/."""
    arguments = as_overrides(arguments, several=True)
    if not any(argument.startswith(("--config", "-cd", "-cn", "-cp")) for argument in arguments):
        check([argument for argument in arguments if "=" in argument and not argument.startswith("-")], True, root)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    sys.argv = [PROGRAMS[root], *arguments]
    launcher.register()
    hydra.main(version_base="1.3", config_path=str(CONF_DIR.resolve()), config_name=root)(job)()


def run_suffix(overrides: Sequence[str], leave_out: Sequence[str]) -> str:
    """A folder name for the overrides of one run of a sweep, another one for each; without the keys to leave out."""
    telling = [override for override in overrides if re.split("[.=]", override)[0] not in leave_out]
    exact = "-".join(telling) or "default"
    safe = re.sub(r"[^\w.=+-]", "_", exact)
    if safe == exact and len(safe) <= 100:
        return safe
    return f"{safe[:100]}-{hashlib.sha256(os.fsencode(exact)).hexdigest()[:6]}"


def describe_groups(root: str) -> str:
    """A line for each config group, with its choices; the default has a star."""
    picked, known = defaults(root), groups(root)
    width = max(map(len, known))
    return "\n".join(
        f"  {group:<{width}}  {', '.join(choice + '*' * (picked[group] == choice) for choice in choices)}"
        for group, choices in known.items()
    )
