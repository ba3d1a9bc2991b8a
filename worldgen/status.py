"""How runs are: `python -m worldgen.status runs/*`.

    python -m worldgen.status runs/*              each run: state, step, seconds, host, job, last line
    python -m worldgen.status runs/sweep          the runs in a folder
    watch -n 10 python -m worldgen.status runs    again and again

Reads run folders alone, on whatever machine they were made, and while they are being made: state is done, running,
failed, stopped (in order, to go on) or stale (killed, or its machine is gone); the same command goes on.
The last line is one JSON object.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from worldgen import program
from worldgen.command import exit_status
from worldgen.errors import UserError
from worldgen.runs.run_status import STATES, RunStatus, is_run, status_of

_COLUMNS = ("run", "state", "step", "seconds", "host", "job")
_LETTERS, _LAST_LETTERS = 60, 80


def main(arguments: Sequence[str]) -> int:
    """Lists the runs; returns the exit status."""
    if not arguments or {"-h", "--help"}.intersection(arguments):
        print(__doc__.strip())
        return 0 if arguments else 2
    return exit_status(partial(_list, arguments), "fewer runs")


def _list(arguments: Sequence[str]) -> None:
    folders, others = runs_among([Path(argument) for argument in arguments])
    found = [status_of(folder) for folder in folders]
    print(table(found), end="")
    counts = Counter(status.state for status in found)
    if others:
        print(f"no runs: {len(others)} ({', '.join(map(str, others[:3]))}{', ...' if others[3:] else ''})")
    told = {"runs": len(found), **{state: counts[state] for state in STATES}, "no_runs": len(others)}
    print(json.dumps(told | {"listed": [asdict(status) for status in found]}, ensure_ascii=False))


def runs_among(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Run folders, those in a folder that is none included, and what is neither. Raises UserError for a path that is
    not there."""
    runs: dict[Path, None] = {}
    others = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: not found, wanted run folders, or a folder of them")
        inside = [path] if is_run(path) else sorted(child for child in path.glob("*") if is_run(child))
        runs |= dict.fromkeys(inside)
        if not inside:
            others.append(path)
    return list(runs), others


def table(found: Sequence[RunStatus]) -> str:
    """Lines of columns, as wide as they need to be, each with the last line at its end."""
    cells = [[_short(str(getattr(status, name))) or "-" for name in _COLUMNS] for status in found]
    rows = [list(_COLUMNS), *cells]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lasts = ["last line", *(status.last[:_LAST_LETTERS] for status in found)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=True)), last])
        for row, last in zip(rows, lasts, strict=True)
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _short(text: str) -> str:
    """Names of a sweep's runs are long, and differ at their end, too."""
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 13]}…{text[-12:]}"


if __name__ == "__main__":
    program.run("worldgen.status")
