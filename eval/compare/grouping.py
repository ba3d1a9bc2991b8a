"""Runs told apart by settings: which group each belongs to, and which photo and seed it is a sample of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.compare.compared import ComparedRun
from worldgen.errors import UserError
from worldgen.runs.differing import differing_keys

SEED = "seed"
UNKNOWN = "unknown"
_MOST_USUAL = 3
_OWN_KEYS = ("photo", "kind", "group")  # of a run itself: no setting has such a name


@dataclass(frozen=True)
class Sample:
    """What a run is one draw of: its photo (or scene), told from others of the same name, and its seed."""

    photo: str
    seed: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.photo, f"seed {self.seed}" if self.seed else "") if part) or "its run"


@dataclass(frozen=True, eq=False)
class Group:
    """values: of the settings that tell the groups apart, in their order."""

    values: tuple[str, ...]
    runs: tuple[ComparedRun, ...]

    @property
    def label(self) -> str:
        """How it is named in text, and as a baseline."""
        return ", ".join(self.values)


def differing(runs: Iterable[ComparedRun]) -> list[str]:
    """Keys of settings that are not the same in all runs of which they are known; sorted."""
    return differing_keys(run.settings for run in runs)


def telling_apart(runs: Sequence[ComparedRun]) -> list[str]:
    """The settings that differ, without those that differ just where one with a shorter name does."""
    found: dict[tuple[int, ...], str] = {}
    for key in sorted(differing(runs), key=lambda key: (len(key), key)):
        values = [run.settings.get(key) for run in runs]
        found.setdefault(tuple(values.index(value) for value in values), key)
    return sorted(found.values())


def usual_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """What groups them where nobody says it: what the folders' names of a sweep say that it set, or else every setting
    that tells them apart; but the seed. None where that makes groups of hardly more than one run, or by more settings
    than people take in."""
    told = [_overrides(run) for run in runs]
    shared = set.intersection(*map(set, told)) if told else set()
    swept = sorted(key for key in shared if len({each[key] for each in told}) > 1)
    keys = [key for key in swept or telling_apart(runs) if key != SEED]
    if not 0 < len(keys) <= _MOST_USUAL:
        return []
    return keys if 1 < len(group_by(runs, keys)) <= len(runs) / 2 else []


def group_by(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[Group]:
    """The groups, sorted by their values, numbers as numbers; runs of which a value is not known are `unknown`.

    A key is a setting (`panorama.heuristic`), `photo`, `kind`, `group` (W&B's, or the folder that holds a run), or a
    group of settings (`panorama`): then its choice in the folders' names of a sweep, or else the settings in it that
    differ. Raises UserError for a key that no run has.
    """
    columns = [_values(runs, key) for key in keys]
    members: dict[tuple[str, ...], list[ComparedRun]] = {}
    for place, run in enumerate(runs):
        members.setdefault(tuple(column[place] for column in columns), []).append(run)
    ordered = sorted(members, key=lambda values: [_as_number(value) for value in values])
    return [Group(values, tuple(members[values])) for values in ordered]


def samples_of(runs: Sequence[ComparedRun]) -> dict[ComparedRun, Sample]:
    """The photo and the seed of each; photos of one name are told apart by their hashes."""
    hashes = {(run.photo, run.photo_sha256) for run in runs if run.photo_sha256}
    names = Counter(photo for photo, _ in hashes)
    return {
        run: Sample(
            f"{run.photo} ({run.photo_sha256[:6]})" if names[run.photo] > 1 else run.photo,
            run.settings.get(SEED, ""),
        )
        for run in runs
    }


def _values(runs: Sequence[ComparedRun], key: str) -> list[str]:
    if key in _OWN_KEYS:
        return [_own(run, key) or UNKNOWN for run in runs]
    if any(key in run.settings for run in runs):
        return [run.settings.get(key) or _told_by_name(run, key) or UNKNOWN for run in runs]
    named = [_told_by_name(run, key) for run in runs]
    if any(named):
        return [value or UNKNOWN for value in named]
    return _values_within(runs, key)


def _own(run: ComparedRun, key: str) -> str:
    if key == "group" and run.folder:
        return run.folder.resolve().parent.name
    return str(getattr(run, key))


def _told_by_name(run: ComparedRun, key: str) -> str | None:
    return _overrides(run).get(key)


def _overrides(run: ComparedRun) -> dict[str, str]:
    """What the name of its folder tells of it: a sweep's are such as photo-panorama=adhoc-seed=1."""
    folder = run.folder.resolve().name if run.folder else Path(run.name).name
    return dict(part.split("=", 1) for part in folder.split("-") if "=" in part)


def _values_within(runs: Sequence[ComparedRun], key: str) -> list[str]:
    """The settings below a key that differ, put together; the key alone where they are the same in all runs."""
    if not any(name.startswith(f"{key}.") for run in runs for name in run.settings):
        known = ", ".join([*differing(runs)[:12], *_OWN_KEYS])
        raise UserError(f"by: {key}, which no run has, wanted some of {known}")
    below = [name for name in differing(runs) if name.startswith(f"{key}.")]
    if len(below) == 1:
        return [run.settings.get(below[0], UNKNOWN) for run in runs]
    return [
        " ".join(f"{name.removeprefix(key + '.')}={run.settings[name]}" for name in below if name in run.settings)
        or (UNKNOWN if below else "the same")
        for run in runs
    ]


def _as_number(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except ValueError:
        return (2 if value == UNKNOWN else 1), 0.0, value
