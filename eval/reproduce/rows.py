"""A table's rows: what is there of each, what is missing, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.protocols.methods import by_config, examine
from eval.protocols.outputs import Output, children_of
from eval.protocols.runs import is_run
from eval.reproduce.sweep import Part, Planned, lacking
from eval.tables.choices import choice_of, group_of
from eval.tables.settings import TableSettings
from worldgen.errors import UserError

_TRAINED = ("conditioning", "warping_ablation")
OURS = "ours"


@dataclass
class RowState:
    """given: other people's; runs: of ours, as far as photos are known; found: how many finished runs or files there
    are, missing: how many are not; why: a line each; blocked: some cannot be made here."""

    name: str
    label: str
    given: bool
    runs: list[Planned] = field(default_factory=list)
    found: int = 0
    missing: int = 0
    why: tuple[str, ...] = ()
    blocked: bool = False

    @property
    def complete(self) -> bool:
        """Whether all that the row rests on is there."""
        return self.found > 0 and self.missing == 0

    def __str__(self) -> str:
        count = f"{self.found} of {self.found + self.missing}" if self.missing else str(self.found)
        head = f"{self.name:<14} {'there' if self.complete else 'MISSING':<8} {count} there"
        return "\n".join([f"{head}{'; ' + self.why[0] if self.why else ''}", *(f"{'':<24}{w}" for w in self.why[1:])])


def look(
    settings: TableSettings,
    parts: Mapping[str, Part],
    methods: Mapping[str, str],
    runs: Path,
    last: str | None,
    tried: bool = False,
) -> list[RowState]:
    """The rows, as they are now. parts: by group of photos, or one by the name ""; methods: other people's output;
    runs: the folder of runs; last: the step that counts as finished, where no part says so; tried: whether what can be
    made here has just been tried."""
    planned = {name: part.planned() for name, part in parts.items()}
    names = dict.fromkeys([*settings.rows, *(name for name in parts if name)])
    rows = []
    for name in names:
        row = settings.rows.get(name)
        state = RowState(name, row.label if row else name, bool(row and row.given))
        if name in methods:
            _look_at_output(state, methods[name])
        elif state.given:
            state.missing, state.why = 1, (f"other people's: methods.{name}=<folder of its output> adds it",)
        elif settings.name in _TRAINED:
            state.missing, state.why = 1, (_trained(name),)
        elif planned:
            state.runs = _runs_of(settings, name, planned)
            without = "the experiment's sweep leaves it out" if settings.paired else "no photos of it"
            _look_at_runs(state, without, tried)
        else:
            _look_without_photos(state, settings, runs, last)
        rows.append(state)
    return rows


def strangers(rows: Sequence[RowState], runs: Path, groups: Sequence[str]) -> list[Path]:
    """Run folders among the table's that no row of it would make: they would be scored with them."""
    planned = {run.folder.absolute() for row in rows for run in row.runs}
    folders = [runs / group for group in groups] if groups else [runs]
    there = [child for folder in folders if folder.is_dir() for child in children_of(folder) if is_run(child)]
    return [folder for folder in there if folder.absolute() not in planned]


def _runs_of(settings: TableSettings, row: str, planned: Mapping[str, list[Planned]]) -> list[Planned]:
    if not settings.paired:
        return planned.get(row, [])
    (runs,) = planned.values()
    if group_of(settings) is None:
        return runs
    choice = choice_of(settings, row)
    return [run for run in runs if choice in run.overrides]


def _look_at_runs(state: RowState, without: str, tried: bool) -> None:
    """without: why there may be no runs to make; tried: to make them."""
    states = [run.state for run in state.runs]
    state.found, state.missing = states.count("finished"), len(states) - states.count("finished")
    reasons = [lacking(run.overrides) for run in state.runs if run.state != "finished"]
    state.why = tuple(dict.fromkeys(reason for several in reasons for reason in several))
    state.blocked = bool(state.why) or not state.runs
    if not state.runs:
        state.missing, state.why = 1, (without,)
    elif state.missing and not state.why:
        begun = states.count("begun")
        can = "tried, and not finished: see above; the same command goes on" if tried else "can be made here"
        state.why = (f"{can}{f', {begun} begun' if begun else ''}",)


def _look_without_photos(state: RowState, settings: TableSettings, runs: Path, last: str | None) -> None:
    """By the run folders alone."""
    output = _output_of(settings, state.name, runs)
    for item in output.items if output else ():
        done = item.run is not None and (last is None or last in item.run.finished)
        state.found, state.missing = state.found + done, state.missing + (not done)
    if not state.complete:
        state.missing = max(1, state.missing)
        state.why = ("no runs: photos=<folder> makes them",)


def _output_of(settings: TableSettings, row: str, runs: Path) -> Output | None:
    pattern = str(runs / "*" / "*") if not settings.paired else str(runs)
    try:
        found = examine(OURS, pattern)
        return by_config(found, settings.group_by).get(row) if settings.group_by else found
    except UserError:
        return None  # nothing there


def _look_at_output(state: RowState, path: str) -> None:
    output = examine(state.name, path)
    state.found, state.missing = len(output.items), len(output.failed)
    state.why = tuple(f"{name}: {why}" for name, why in output.failed.items())


def _trained(row: str) -> str:
    painted = "python -m eval.experiments.conditioning paints them and makes the table"
    return f"methods.{row}=<folder of views> adds it: by a ControlNet of train.controlnet data.warp={row}; {painted}"
