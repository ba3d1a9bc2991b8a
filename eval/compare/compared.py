"""What is known of a run that is to be compared: from its folder alone, or from what W&B was told of its steps."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from eval.compare.kinds import STEP_ORDER, STEPS_OF, Kind, figures_of, kind_of, signatures_in
from eval.compare.states import missing_steps, state_of
from eval.compare.wandb_api import WandbRun, about, kind_at_wandb, scores_of, steps_of
from eval.scoring.scores import SCORES_FILE
from worldgen.errors import UserError
from worldgen.runs.layout import LAYOUT, MANIFEST, layout_of
from worldgen.runs.steps_table import STEPS
from worldgen.runs.wandb_runs import logged_group

STEP_NAMES = tuple(step.name for step in STEPS)


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One world, fit or ControlNet. state: `finished`, or what is missing; settings: by key; seconds: by step;
    peak_memory_mb: of the step that took most, None where no step is known; figures: points, gaussians, psnr_db, loss,
    ..., as far as they are known; scores: by metric; folder: None where only W&B knows it, then with W&B's group;
    kind: see `kinds`; photo_sha256: "" where it is not known; versions: of packages and of the folder's layout; better:
    `lower` or `higher`, by metric, where the evaluation says it."""

    name: str
    photo: str
    state: str
    settings: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None
    group: str = ""
    kind: Kind = "world"
    photo_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    better: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it came to the end that it was to have, by `until` too."""
        return self.state.startswith("finished")


def folders_of_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders, and those in folders of them, each once; plain files, which `runs/*` may name too, are left out.

    Paths may be patterns. A folder that holds no run is kept: a run may have stopped before its first step; one that
    holds an evaluation is none. Raises UserError for a path that is not there.
    """
    found: dict[Path, Path] = {}
    for path in chain.from_iterable(map(_named, paths)):
        if not path.is_dir():
            continue
        is_run = (path / MANIFEST).is_file()
        inside = sorted({child.parent for sign in (MANIFEST, "log.txt") for child in path.glob(f"*/{sign}")})
        if not is_run and not inside and (path / SCORES_FILE).is_file():
            continue
        for folder in [path] if is_run or not inside else inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _named(path: Path) -> list[Path]:
    """A path, or what a pattern such as runs/* finds. Raises UserError where nothing is there."""
    if path.exists():
        return [path]
    start, pattern = Path(path.anchor), str(path.relative_to(path.anchor))
    found = sorted(start.glob(pattern)) if any(sign in pattern for sign in "*?[") else []
    if not found:
        raise UserError(f"{path}: no such folder, wanted run folders as `python -m worldgen` makes them")
    return found


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
    """A run folder as its manifest and log tell of it, however far it got, even while it is written."""
    name = folder.resolve().name
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        photo, steps = manifest["photo"], manifest["steps"]
        if not all(isinstance(entry, Mapping) for entry in (photo, steps, *steps.values())):
            raise TypeError
        kind = kind_of(steps, folder)
        run = _of_steps(name, str(photo.get("name", "")), steps, kind)
        sha256, layout = str(photo.get("sha256", "")), layout_of(manifest)
    except FileNotFoundError:
        return ComparedRun(name, "", f"no run ({MANIFEST} is missing)", folder=folder)
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return ComparedRun(name, "", f"{MANIFEST} cannot be read", folder=folder)
    known: dict[str, Any] = {"folder": folder, "state": state_of(folder, run.state), "photo_sha256": sha256}
    if kind == "world":
        known["figures"] = run.figures | signatures_in(folder)
    if kind == "controlnet":  # its "photo" is the data, settings and all: a setting like any other
        known |= {"photo": "", "photo_sha256": ""}
    if layout not in (None, LAYOUT):
        known["versions"] = run.versions | {"folder layout": str(layout)}
    return replace(run, **known)


def from_wandb(runs: Iterable[WandbRun]) -> list[ComparedRun]:
    """A row for each world's, fit's and ControlNet's W&B run. Other runs are left out."""
    kinds = {run: kind for run in runs if (kind := kind_at_wandb(run)) is not None}
    names = Counter(about(run)["run"] for run in kinds)
    rows = []
    for run in sorted(kinds, key=lambda run: (run.group, str(about(run)["run"]))):
        name, steps = str(about(run)["run"]), steps_of(run, kinds[run])
        name = name if names[name] == 1 else f"{run.group}/{name}"
        row = _of_steps(name, str(about(run).get("photo") or ""), steps, kinds[run])
        state, sha256 = _state_at_wandb(run, row.state, steps), str(about(run).get("photo_sha256") or "")
        rows.append(replace(row, group=run.group, scores=scores_of(run), state=state, photo_sha256=sha256))
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


def _of_steps(name: str, photo: str, steps: Mapping[str, Mapping[str, Any]], kind: Kind = "world") -> ComparedRun:
    """steps: as in a manifest."""
    config: dict[str, Any] = {}
    versions: dict[str, str] = {}
    for step in steps.values():
        config |= step.get("config", {})
        versions |= step.get("versions", {})
    memory = [float(step["peak_memory_mb"]) for step in steps.values()]
    return ComparedRun(
        name=name,
        photo=photo,
        state=missing_steps(STEPS_OF[kind], steps),
        settings=settings(config),
        seconds={step: float(steps[step]["seconds"]) for step in STEP_ORDER if step in steps},
        peak_memory_mb=max(memory, default=None),
        figures=figures_of(kind, {step: entry.get("facts", {}) for step, entry in steps.items()}),
        kind=kind,
        versions={package: str(version) for package, version in versions.items()},
    )
