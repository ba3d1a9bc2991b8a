"""What must be said of runs that are set side by side: which have not come to their end, which have no scores, and what
else is not the same for all of them."""

from collections import Counter
from collections.abc import Sequence

from eval.compare.compared import ComparedRun

_SHOWN, _MOST_STATES = 3, 6
_TOLD_APART = (
    "python",
    "worldgen",
    "torch",
    "numba",
    "openvino",
    "numpy",
    "folder layout",
)


def notes_on(runs: Sequence[ComparedRun]) -> list[str]:
    """A line each; none where all is well."""
    return [*_unfinished(runs), *_unscored(runs), *_kinds(runs), *_versions(runs)]


def _unfinished(runs: Sequence[ComparedRun]) -> list[str]:
    by_state: dict[str, list[str]] = {}
    for run in runs:
        if not run.finished:
            by_state.setdefault(run.state, []).append(run.name)
    states = sorted(by_state, key=lambda state: -len(by_state[state]))
    lines = [f"not finished: {_named(by_state[state])}: {state}" for state in states[:_MOST_STATES]]
    others = sum(len(by_state[state]) for state in states[_MOST_STATES:])
    return [*lines, *([f"not finished, for other reasons: {others} runs"] if others else [])]


def _unscored(runs: Sequence[ComparedRun]) -> list[str]:
    """Runs without any score, beside others that have some."""
    lacking = [run.name for run in runs if not run.scores]
    return [f"not scored: {_named(lacking)}"] if lacking and len(lacking) < len(runs) else []


def _kinds(runs: Sequence[ComparedRun]) -> list[str]:
    counts = Counter(run.kind for run in runs)
    told = ", ".join(f"{count} {kind}s" for kind, count in sorted(counts.items()))
    return [f"several kinds of runs, which do not compare: {told}"] if len(counts) > 1 else []


def _versions(runs: Sequence[ComparedRun]) -> list[str]:
    lines = []
    for package in _TOLD_APART:
        counts = Counter(run.versions.get(package, "") for run in runs if run.versions)
        if len(counts) > 1:
            told = ", ".join(f"{version or 'none told'} ({count})" for version, count in sorted(counts.items()))
            lines.append(f"made with different versions of {package}: {told}")
    return lines


def _named(names: Sequence[str]) -> str:
    shown = f"{', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
    return shown if len(names) == 1 else f"{len(names)} runs ({shown})"
