"""A sweep's jobs on the screen while they are waited for: one table that is drawn again, or a line for each change."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_STYLES = {"done": "green", "running": "cyan", "queued": "", "failed": "red"}
_RUN_LETTERS = 40
_FEW = 12  # rows: a table that is longer than the screen is not drawn whole

Row = tuple[str, str, str, str, str]
"""A job's id, its run, how it is (done, running, queued, failed), how long, and what there is to say."""


def counted(kinds: Sequence[str]) -> str:
    """`done 3 · running 2 · queued 0 · failed 1`."""
    counts = Counter(kinds)
    return " · ".join(f"{kind} {counts[kind]}" for kind in _STYLES)


@contextmanager
def job_table(console: Console | None = None) -> Iterator[Callable[[Sequence[Row], str], None]]:
    """Yields what shows the rows as they are now, and what troubles. Where the console is no terminal, that is a line
    whenever the counts, or the trouble, have changed."""
    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(console).show
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda rows, trouble: live.update(_table(rows, trouble), refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._last = console, ""

    def show(self, rows: Sequence[Row], trouble: str) -> None:
        line = counted([row[2] for row in rows]) + (f"; {trouble}" if trouble else "")
        if line != self._last:
            self._console.print(line, markup=False, soft_wrap=True)
        self._last = line


def _table(rows: Sequence[Row], trouble: str) -> Table:
    """What fails and what runs is shown, then what waits, then what is done, as far as there is room."""
    order = {kind: place for place, kind in enumerate(("failed", "running", "queued", "done"))}
    shown = sorted(rows, key=lambda row: order[row[2]])[:_FEW]
    title = counted([row[2] for row in rows])
    left = f"and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
    caption = "; ".join(filter(None, [left, trouble, "Ctrl-C leaves the jobs"]))
    table = Table(title=title, caption=caption, box=None, title_justify="left", caption_justify="left", expand=True)
    for place, name in enumerate(("job", "run", "state", "time")):
        width = max(len(name), *(len(row[place]) for row in shown))
        table.add_column(name, min_width=min(width, _RUN_LETTERS), max_width=_RUN_LETTERS, no_wrap=True)
    table.add_column("", ratio=1, overflow="ellipsis", no_wrap=True)
    for job, run, kind, elapsed, said in shown:
        table.add_row(job, Text(run), Text(kind, style=_STYLES[kind]), elapsed, Text(said))
    return table
