"""How a run is, by its folder alone: also while it is being made, on this machine or another."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldgen.runs.attempts import FILENAME as ATTEMPT
from worldgen.runs.folder import FRESH, load_json_or_nothing
from worldgen.runs.holder import Holder, holder_of
from worldgen.runs.layout import MANIFEST
from worldgen.runs.steps_table import EXPORT, STEPS

STATES = ("done", "running", "failed", "stopped", "stale")
_ORDER = {step.name: place for place, step in enumerate(STEPS)}
_LOG_END_BYTES = 4096
_LOG_PARTS = 4  # date, time, level, logger: then what was said


@dataclass(frozen=True)
class RunStatus:
    """state: done (as far as it was asked to go), running, failed, stopped (in order, to go on), or stale (killed, or
    its machine is gone); step: what is being made, or was last; seconds: of all finished steps, and of the one in the
    making; host, job: where it runs or ran last, job empty outside of Slurm; last: of its log, or the error."""

    run: str
    state: str
    step: str
    seconds: float
    host: str
    job: str
    last: str


def is_run(folder: Path) -> bool:
    """Whether a program of ours makes, or made, something there."""
    return (folder / MANIFEST).is_file()


def status_of(folder: Path) -> RunStatus:
    """Reads a few small files; none of them has to be whole, nor there."""
    steps = load_json_or_nothing(folder / MANIFEST).get("steps")
    records = {name: record for name, record in (steps or {}).items() if isinstance(record, dict)}
    holder = holder_of(folder)
    making, began = _in_the_making(folder)
    seconds = sum(_number(record.get("seconds")) for record in records.values())
    state = _state(holder, bool(making), EXPORT in records)
    if making and state == "running":
        seconds += time.time() - began
    done = max(records, key=lambda name: _ORDER.get(name, len(_ORDER)), default="")
    step = making if making and state != "done" else done
    last = holder.outcome.removeprefix("failed: ") if holder and state == "failed" else _last_line(folder / "log.txt")
    where = (holder.host, holder.job) if holder else ("", "")
    return RunStatus(str(folder), state, step, round(seconds, 1), *where, last)


def _state(holder: Holder | None, making: bool, exported: bool) -> str:
    if holder is not None and holder.is_alive:
        return "running"
    said = holder.outcome.partition(":")[0] if holder is not None else ""
    if said in STATES:
        return said
    return "done" if exported and not making else "stale"  # earlier versions said nothing at the end


def _in_the_making(folder: Path) -> tuple[str, float]:
    """The step that the newest attempt is at, and since when it has been, all attempts counted; empty without one."""
    found = []
    for path in folder.glob(f".*{FRESH}/{ATTEMPT}"):
        told: dict[str, Any] = load_json_or_nothing(path)
        began = _number(told.get("began"))
        found.append((began, path.parent.name[1 : -len(FRESH)], began - _number(told.get("earlier_s"))))
    _, step, since = max(found, default=(0.0, "", 0.0))
    return step, since


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_END_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
    parts = last.split(maxsplit=_LOG_PARTS)
    return parts[-1] if len(parts) > _LOG_PARTS and parts[3].endswith(":") else last


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
