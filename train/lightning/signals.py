"""Ctrl-C and SIGTERM while Lightning trains: as a shell and Slurm expect them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C stays KeyboardInterrupt; Lightning makes SystemExit of it, and ignores every later Ctrl-C. SIGTERM ends
    the process with the status that shells know; Lightning's own would be 0."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise SystemExit(128 + signal.SIGTERM) from error
