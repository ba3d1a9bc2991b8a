"""What is known of a run that is to be compared: from its folder alone, or from what W&B was told of its steps."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.compare.wandb_api import WandbRun, about, is_world, scores_of, steps_of
from worldgen.errors import UserError
from worldgen.runs.steps_table import STEPS
from worldgen.runs.wandb_runs import is_number, logged_group

MANIFEST = "manifest.json"
STEP_NAMES = tuple(step.name for step in STEPS)
_LOG_LINE = re.compile(r"\S+ \S+ (?P<level>[A-Z]+) worldgen: +(?P<number>\d+)/(?P<total>\d+) (?P<step>\w+)(?P<rest>.*)")


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One world. state: `finished`, or what is missing; settings: by key; seconds: by step; peak_memory_mb: of the step
    that took most, None where no step is known; figures: points, gaussians, psnr_db, loss, as far as they are known;
    scores: by metric; folder: None where only W&B knows it."""

    name: str
    photo: str
    state: str
    settings: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether it came to the end that it was to have, by `until` too."""
        return self.state.startswith("finished")


def folders_of_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders, and those in folders of them, each once; plain files, which `runs/*` may name too, are left out.

    A folder that holds no run is kept: a run may have stopped before its first step. Raises UserError for a path that
    is not there.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder, wanted run folders as `python -m worldgen` makes them")
        if not path.is_dir():
            continue
        inside = [child.parent for child in sorted(path.glob(f"*/{MANIFEST}"))]
        for folder in [path] if (path / MANIFEST).is_file() or not inside else inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def logged_folders(place: Path, group: str | None = None) -> list[Path]:
    """The run folders below `place` that W&B was told of, offline too: what they hold tells the same.

    group: only those that W&B has in that group. Raises UserError where there is none.
    """
    logged = {path.parent for path in place.rglob("wandb") if (path.parent / MANIFEST).is_file()}
    found = sorted(folder for folder in logged if group is None or logged_group(folder) == group)
    if not found:
        which = f"none of the group {group}" if logged else "no run folder that was logged"
        raise UserError(f"wandb: {which} in {place}, wanted run folders of logger=wandb, or entity/project")
    return found


def from_folder(folder: Path) -> ComparedRun:
    """A run folder as its manifest and log tell of it, however far it got."""
    name = folder.resolve().name
    if not (folder / MANIFEST).is_file():
        return ComparedRun(name, "", f"no run ({MANIFEST} is missing)", folder=folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        photo, steps = manifest["photo"], manifest["steps"]
        if not all(isinstance(entry, Mapping) for entry in (photo, steps, *steps.values())):
            raise TypeError
        run = _of_steps(name, str(photo.get("name", "")), steps)
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return ComparedRun(name, "", f"{MANIFEST} cannot be read", folder=folder)
    known = {"folder": folder, "state": _state(folder, steps)}
    return ComparedRun(**{**vars(run), **known})


def from_wandb(runs: Iterable[WandbRun]) -> list[ComparedRun]:
    """A row for each world's W&B run. Other runs are left out."""
    worlds = sorted((run for run in runs if is_world(run)), key=lambda run: (run.group, str(about(run)["run"])))
    names = Counter(about(run)["run"] for run in worlds)
    rows = []
    for run in worlds:
        name = str(about(run)["run"])
        steps = steps_of(run)
        row = _of_steps(name if names[name] == 1 else f"{run.group}/{name}", str(about(run).get("photo", "")), steps)
        state = _state_at_wandb(run, row.state, steps)
        rows.append(ComparedRun(**{**vars(row), "scores": scores_of(run), "state": state}))
    return rows


def settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested config as {`panorama.heuristic`: its value as text}; a list is one value."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def _state_at_wandb(run: WandbRun, by_steps: str, steps: Iterable[str]) -> str:
    until = run.config.get("until")
    if by_steps != "finished" and isinstance(until, str) and until in steps:
        return f"finished up to {until}"
    return by_steps if "finished" in (by_steps, run.state) else f"{by_steps} ({run.state}, says W&B)"


def _of_steps(name: str, photo: str, steps: Mapping[str, Mapping[str, Any]]) -> ComparedRun:
    """steps: as in a manifest."""
    config: dict[str, Any] = {}
    for step in steps.values():
        config |= step.get("config", {})
    memory = [float(step["peak_memory_mb"]) for step in steps.values()]
    return ComparedRun(
        name=name,
        photo=photo,
        state=_missing(steps),
        settings=settings(config),
        seconds={step: float(steps[step]["seconds"]) for step in STEP_NAMES if step in steps},
        peak_memory_mb=max(memory, default=None),
        figures=_figures({step: entry.get("facts", {}) for step, entry in steps.items()}),
    )


def _figures(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    splat, points = facts.get("splat", {}), facts.get("lift", {}).get("points")
    if is_number(points):
        added = facts.get("complete", {}).get("points_added", 0)
        points += added if is_number(added) else 0
    found = {
        "points": points,
        "gaussians": splat.get("gaussians"),
        "psnr_db": splat.get("panorama_psnr_db"),
        "loss": splat.get("loss_last"),
    }
    return {name: value for name, value in found.items() if is_number(value)}


def _missing(steps: Mapping[str, Any]) -> str:
    missing = [step for step in STEP_NAMES if step not in steps]
    return f"without {missing[0]}" + (" and later steps" if missing[1:] else "") if missing else "finished"


def _state(folder: Path, steps: Mapping[str, Any]) -> str:
    """What log.txt adds: whether the run came to the end that it was to have, or which step it never left."""
    state = _missing(steps)
    try:
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return state
    logged = [match for line in lines if (match := _LOG_LINE.match(line))]
    if not logged:
        return state
    last = logged[-1]
    if last["rest"].startswith(":"):  # "begins", and nothing after it
        return f"stopped in {last['step']}"
    if state != "finished" and last["number"] == last["total"]:
        return f"finished up to {last['step']}"
    return state
