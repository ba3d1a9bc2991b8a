"""A table of the paper from nothing: what is there, what is missing and why, the runs, the evaluation, the table.

    python -m eval.reproduce table=panorama_ablation photos=<folder>                   runs what can run here
    python -m eval.reproduce table=panorama photos=<folder> profile=paper hydra/launcher=slurm    as Slurm jobs
    python -m eval.reproduce table=world photos=<folder> profile=paper dry=true        only says what it would do
    python -m eval.reproduce table=panorama methods.mvdiffusion=<folder>               other people's rows
    python -m eval.reproduce table=generalisation photos=<folder of folders>           a row for each group of photos

The same command again keeps finished runs and goes on with the others. Keys of `python -m eval` (metrics, protocol,
metric, processes, cache, keep_views, allow_missing, baseline, format) go to the evaluation, all others to the runs.
runs=<folder> holds the runs, scores=<folder> the scores (default: the table's own, with the profile's name behind where
that is not the default). Exit status 1: rows of ours are missing in the end. The last line is one JSON object.
"""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from eval.cli import NOT_WAITED_FOR, take_methods
from eval.cli import main as evaluate
from eval.reproduce.rows import RowState, look, strangers
from eval.reproduce.sweep import Part, shown, without_controlnet
from eval.tables.choices import choice_of, group_of
from eval.tables.settings import TableSettings
from worldgen.command import exit_status
from worldgen.config import choices, compose_program, defaults, instantiate
from worldgen.errors import UserError, expect
from worldgen.io.photo_folder import is_systems_own
from worldgen.paths import user_path
from worldgen.runs.steps_table import EXPORT, SPLAT

EXPERIMENTS = {"panorama": "panorama_table", "world": "world_table"}  # of tables that are not called as their own
FITS = "distortion_ablation"  # has a program of its own
NO_RUNS = ("conditioning", "warping_ablation")
_OURS = ("table", "photos", "launcher", "dry", "runs", "scores")
_OF_EVAL = (
    *("protocol", "metrics", "metric", "processes", "cache", "keep_views", "allow_missing", "baseline", "format"),
)
_STOPPED = (130, 143)


@dataclass
class Asked:
    """What the command line says. methods: other people's output; making, scoring: overrides of runs and evaluation."""

    settings: TableSettings
    photos: Path | None
    launcher: str | None
    dry: bool
    runs: Path
    scores: Path
    methods: dict[str, str]
    making: tuple[str, ...] = ()
    scoring: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Part]:
        """The sweeps: one, or one for each group of photos."""
        if self.photos is None:
            return {}
        name = self.settings.name
        experiment = EXPERIMENTS.get(name, name)
        if self.settings.paired:
            return {"": Part(experiment, self.photos, self.runs, self.making)}
        groups = [path for path in sorted(self.photos.iterdir()) if path.is_dir() and not is_systems_own(path)]
        expect("photos", self.photos, bool(groups), f"one with folders of photos: {', '.join(self.settings.rows)}")
        return {path.name: Part(experiment, path, self.runs / path.name, self.making) for path in groups}

    @property
    def last(self) -> str:
        """The step that a run of this table has to have finished, where its own config is not at hand."""
        return SPLAT if self.settings.protocol == "world" else "panorama"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or {"-h", "--help"}.intersection(arguments):
        print(f"{__doc__}\ntables: {', '.join(choices('table'))}")
        return 0 if arguments else 2
    statuses: list[int] = []
    ended = exit_status(partial(_obey, arguments, statuses), "panorama.width=1024")
    return ended or statuses[0]


def _obey(arguments: Sequence[str], statuses: list[int]) -> None:
    asked = _asked(arguments)
    rows = _look(asked)
    print(f"{asked.settings.title}: rows")
    print("\n".join(map(str, rows)))
    commands = _fits(asked) if asked.settings.name == FITS else _sweeps(asked, rows)
    for command in commands:
        print(f"\n$ {shown(command)}", flush=True)
    if not asked.dry:
        for command in commands:
            _make(command)
        rows = _look(asked, tried=bool(commands))
        if commands:
            print("\n" + "\n".join(map(str, rows)), flush=True)
    scored = _scored(asked, rows)
    missing = [row.name for row in rows if not row.complete and not row.given]
    states = {row.name: {"there": row.found, "missing": row.missing, "why": list(row.why)} for row in rows}
    told = {"table": asked.settings.name, "runs": str(asked.runs), "dry": asked.dry, "missing": missing, "rows": states}
    print(json.dumps(told | {"evaluation": scored}, ensure_ascii=False))
    statuses.append(1 if missing else 0)


def _asked(arguments: Sequence[str]) -> Asked:
    methods, others = take_methods(arguments)
    own: dict[str, str] = {}
    making: list[str] = []
    scoring: list[str] = []
    for argument in others:
        key, equals, value = argument.partition("=")
        expect(argument, "cannot be read", bool(equals) and not argument.startswith("-"), "key=value")
        key = "launcher" if key == "hydra/launcher" else key
        expect(
            argument, "the table is made when its runs are done", argument not in NOT_WAITED_FOR, "dry=true, or none"
        )
        if key in _OURS:
            expect(key, "given twice", key not in own, "it once")
            expect(key, value, bool(value), "a value")
            own[key] = value
        elif key in ("images", "image", "out", "experiment"):
            instead = {"out": "runs=<folder>"}.get(key, "photos=<folder>")
            raise UserError(f"{key}: not to be set here, wanted {'table=<name>' if key == 'experiment' else instead}")
        else:
            (scoring if key.partition(".")[0] in _OF_EVAL else making).append(argument)
    expect("table", own.get("table", "missing"), own.get("table") in choices("table"), f"one of {_tables()}")
    expect("dry", own.get("dry"), own.get("dry", "false") in ("true", "false"), "true or false")
    expect("launcher", own.get("launcher"), own.get("launcher") in (None, "slurm", "basic"), "slurm or basic")
    settings = instantiate(compose_program("eval", [f"table={own['table']}"]).table)
    _expect_of_use(settings, own, making, methods)
    photos = user_path(own["photos"]) if "photos" in own else None
    expect("photos", photos, photos is None or photos.is_dir(), "a folder of photos")
    behind = _behind(making)
    runs = user_path(own["runs"]) if "runs" in own else Path(f"{_runs(settings)}{behind}")
    scores = user_path(own["scores"]) if "scores" in own else Path(f"{settings.scores}{behind}")
    launcher = own.get("launcher") if own.get("launcher") != "basic" else None
    dry = own.get("dry") == "true"
    return Asked(settings, photos, launcher, dry, runs, scores, methods, tuple(making), scoring)


def _expect_of_use(
    settings: TableSettings, own: dict[str, str], making: Sequence[str], methods: dict[str, str]
) -> None:
    """Raises UserError where something is given that the table has no use for."""
    name = settings.name
    if name in (*NO_RUNS, FITS) and "photos" in own:
        raise UserError(f"photos: given, wanted none: table={name} is made of no photos")
    if name in NO_RUNS and making:
        raise UserError(f"{making[0]}: changes runs, of which table={name} has none")
    if methods and (name == FITS or not settings.paired):
        raise UserError(f"methods.{next(iter(methods))}: given, wanted none: table={name} is of our runs alone")
    for method in methods:
        row = settings.rows.get(method)
        if row and not row.given and name not in NO_RUNS:
            raise UserError(f"methods.{method}: a row of ours, wanted photos=<folder>, or another name")


def _tables() -> str:
    return ", ".join(choices("table"))


def _behind(making: Sequence[str]) -> str:
    """What tells a profile's folders from those of the default."""
    profile = next((each.partition("=")[2] for each in reversed(making) if each.startswith("profile=")), None)
    return f"-{profile}" if profile not in (None, defaults()["profile"]) else ""


def _runs(settings: TableSettings) -> str:
    return (settings.runs or f"runs/{settings.name}").removesuffix("/*/*")


def _look(asked: Asked, tried: bool = False) -> list[RowState]:
    rows = look(asked.settings, asked.parts, asked.methods, asked.runs, asked.last, tried)
    if asked.photos is not None:
        others = strangers(rows, asked.runs, [] if asked.settings.paired else list(asked.parts))
        if others:
            more = f" and {len(others) - 1} more" if others[1:] else ""
            raise UserError(f"{others[0]}{more}: of other photos or settings, wanted another runs=<folder>")
    return rows


def _sweeps(asked: Asked, rows: Sequence[RowState]) -> list[list[str]]:
    """The commands that make what is missing and can be made here."""
    commands = []
    for group, part in asked.parts.items():
        concerned = [row for row in rows if row.runs and (not group or row.name == group)]
        here = [row for row in concerned if not row.blocked]
        if all(row.complete for row in here):
            continue
        if any(_lacks_controlnet(row) for row in here):
            print("no ControlNet is named: completer.path=<folder> does; without it the inpainter completes alone")
        more = _narrowed(asked.settings, here) if len(here) < len(concerned) else []
        commands.append(part.command([*more, *([f"hydra/launcher={asked.launcher}"] if asked.launcher else [])]))
    return commands


def _lacks_controlnet(row: RowState) -> bool:
    return any(run.last in (SPLAT, EXPORT) and without_controlnet(run.overrides) for run in row.runs[:1])


def _narrowed(settings: TableSettings, here: Sequence[RowState]) -> list[str]:
    """The sweep over those rows that can be made here alone."""
    found = group_of(settings)
    if found is None:
        return []
    chosen = [str(choice_of(settings, row.name)).partition("=")[2] for row in here]
    return [f"{found[0]}={','.join(chosen)}"]


def _fits(asked: Asked) -> list[list[str]]:
    """The program that makes and draws the ablation of the distortion field; it keeps finished fits itself."""
    launcher = [f"hydra/launcher={asked.launcher}"] if asked.launcher else []
    places = ["--runs", str(asked.runs), "--out", f"{asked.scores}-by-strength"]
    return [["python", "-m", f"eval.experiments.{FITS}", *asked.making, *launcher, *places]]


def _make(command: Sequence[str]) -> None:
    """Runs a command in a process of its own; what fails in it is said there, and shows in the rows."""
    status = subprocess.run([sys.executable, *command[1:]], stdout=sys.stderr, check=False).returncode
    if status in _STOPPED:
        raise SystemExit(status)
    if status:
        print(f"{shown(command[:5])} ... ended with status {status}", file=sys.stderr)


def _scored(asked: Asked, rows: Sequence[RowState]) -> dict[str, Any] | None:
    """Evaluates what is there, and prints the table; with dry=true, and where nothing is there, as it is stored."""
    given = [f"methods.{name}={path}" for name, path in asked.methods.items()]
    made = any(row.found for row in rows if not row.given and row.name not in asked.methods)
    runs = str(asked.runs if asked.settings.paired else asked.runs / "*" / "*")
    command = [f"table={asked.settings.name}", f"out={asked.scores}", *asked.scoring]
    command += [*given, *([f"runs={runs}"] if made else ["table.runs=null"])] if not asked.dry else []
    print(f"\n$ {shown(['python', '-m', 'eval', *command])}\n", flush=True)
    if asked.dry:
        return None
    said = io.StringIO()
    with redirect_stdout(said):
        status = evaluate([*command, "quiet=true"])
    lines = said.getvalue().rstrip().splitlines()
    if status:
        raise UserError("the evaluation ended in an error, see above; what is there is kept, the same command goes on")
    print("\n".join(lines[:-1]), flush=True)
    return json.loads(lines[-1]) if lines else None
