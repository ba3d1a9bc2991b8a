"""What a person sees of a run in the terminal, and what its log file keeps: bars, and a line for each finished step."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from worldgen.runs.folder import StepResult

T = TypeVar("T")

_log = logging.getLogger("worldgen")


@dataclass
class StepLine:
    """What a step's line will say; the caller sets `result` once there is one."""

    result: "StepResult | None" = None


class Reporter:
    """Tells a person how the recipe gets on: a bar with an estimate while it works, one line per step when done.

    Lines go to standard error, bars only where that is a terminal (or a notebook), and both nowhere when `quiet`.
    After `log_to`, every line and every message of Python's `logging` is also appended to that file.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._bars: Progress | None = None
        self._log_file: logging.Handler | None = None

    def log_to(self, path: Path) -> None:
        """Appends to `path` from now on, and no longer to the file named before."""
        self.close()
        self._log_file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self._log_file)
        _log.setLevel(logging.INFO)

    def close(self) -> None:
        """Lets go of the log file."""
        if self._log_file is not None:
            logging.getLogger().removeHandler(self._log_file)
            self._log_file.close()
            self._log_file = None

    def note(self, text: str) -> None:
        """One line for the person to read."""
        _log.info(text)
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, number: int, total: int, name: str, title: str) -> Iterator[StepLine]:
        """Announces one step of the recipe; its line is printed when the block ends without an exception."""
        place = f"{number}/{total}"
        _log.info("%s %s: begins", place, name)
        line, began = StepLine(), time.perf_counter()
        try:
            with self._shown(f"{place} {name}: {title}", None):
                yield line
        except Exception as error:
            if self._log_file is not None:  # or it would go to the screen, where the command line says it
                _log.error("%s %s: %s", place, name, error or type(error).__name__)
            raise
        self.note(f"{place:>5} {name:<10} {title:<32} {_outcome(line.result, time.perf_counter() - began)}")

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """A `Track`: a bar named `what` that moves one place per item."""
        with self._shown(f"      {what}", total) as advance:
            for item in items:
                yield item
                advance()

    @contextmanager
    def _shown(self, text: str, total: int | None) -> Iterator[Callable[[], None]]:
        """A row of the live display while the block runs; yields what moves its bar."""
        if self._quiet or not (self._console.is_terminal or self._console.is_jupyter):
            yield lambda: None
            return
        outermost = self._bars is None
        if self._bars is None:
            self._bars = _new_bars(self._console)
            self._bars.start()
        bars, row = self._bars, self._bars.add_task(text, total=total or None)
        try:
            yield lambda: bars.advance(row)
        finally:
            bars.remove_task(row)
            if outermost:
                bars.stop()
                self._bars = None


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk is the run folder's to report, once; not the log's, line by line."""


class _TimeLeftColumn(ProgressColumn):
    max_refresh = 0.5  # seconds; an estimate that jumps about helps nobody

    def render(self, task: Task) -> Text:
        return Text("" if task.time_remaining is None else f"about {task.time_remaining:.0f} s left")


def _new_bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _TimeLeftColumn(),
        console=console,
        transient=True,
    )


def _outcome(result: "StepResult | None", seconds: float) -> str:
    if result is not None and result.status == "kept":
        return "kept"
    if result is not None and result.status == "edited":
        return "kept as edited by hand"
    if result is not None and "skipped" in result.facts:
        return f"skipped: {result.facts['skipped']}"
    return f"{seconds:.1f} s"
