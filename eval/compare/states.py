"""How far a run came: by the steps that are finished, its log, and who holds its folder."""

import re
from collections.abc import Container, Sequence
from pathlib import Path

from worldgen.runs.holder import holder_of

_LOG_LINE = re.compile(r"\S+ \S+ (?P<level>[A-Z]+) worldgen: +(?P<number>\d+)/(?P<total>\d+) (?P<step>\w+)(?P<rest>.*)")
_ATTEMPT = re.compile(r"\.(?P<step>\w+)\.worldgen-new")


def missing_steps(wanted: Sequence[str], made: Container[str]) -> str:
    """`finished`, or which is the first step that is not made."""
    missing = [step for step in wanted if step not in made]
    return f"without {missing[0]}" + (" and later steps" if missing[1:] else "") if missing else "finished"


def state_of(folder: Path, by_steps: str) -> str:
    """What the folder adds to what `missing_steps` said: whether the run came to the end that it was to have, in which
    step it failed and why, or which one it never left, being at work there still or not."""
    begun, last = _step_begun(folder)
    if last and not last["rest"].startswith(":"):
        whole = by_steps != "finished" and last["number"] == last["total"]
        return f"finished up to {last['step']}" if whole else by_steps
    if last and last["level"] == "ERROR":
        return f"failed in {last['step']}{last['rest']}"
    if begun is None or by_steps == "finished":
        return by_steps
    return f"{_at_work(folder)} in {begun}"


def _step_begun(folder: Path) -> tuple[str | None, re.Match[str] | None]:
    """The step that was begun last and not ended, and the log's last line of a step. Runs without a log are told by
    what they left of a step."""
    try:
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        attempts = [found["step"] for path in folder.glob(".*") if (found := _ATTEMPT.fullmatch(path.name))]
        return (attempts[0] if len(attempts) == 1 else None), None
    last = next((found for line in reversed(lines) if (found := _LOG_LINE.match(line))), None)
    return (last["step"] if last and last["rest"].startswith(":") else None), last


def _at_work(folder: Path) -> str:
    """Whether who holds, or held, the folder is there, as far as can be seen from here."""
    holder = holder_of(folder)
    return "at work" if holder is not None and holder.is_alive else "stopped"
