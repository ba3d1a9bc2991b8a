"""The folder of an evaluation, which may grow: one evaluation after the other, or at once, adds its methods to it.

    expect_room(out, evaluation)      # before scoring
    add(out, rows, evaluation)        # after it

Methods stand beside each other only where they were scored alike: by the same protocol, metrics and versions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eval.scoring.scores import EVALUATION_FILE, SCORES_FILE, Score, read_evaluation, read_scores, write_scores
from worldgen.errors import UserError
from worldgen.runs.disk import locked

LOCK_FILE = ".lock"
_ANOTHER = "wanted another out=, or that folder removed"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes the folder, and holds it: nobody else writes into it meanwhile. Raises UserError where it cannot be."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out: {folder} is a file, wanted a folder")
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / LOCK_FILE, wait=True))
        except OSError as error:
            raise UserError(f"out: {folder} cannot be written ({error.strerror}), wanted another folder") from error
        yield


def expect_room(folder: Path, evaluation: Mapping[str, Any]) -> dict[str, list[str]]:
    """Makes the folder; returns the methods in it that stay, and their images.

    evaluation: protocol, metrics and methods, before scoring. Raises UserError where the folder cannot be written, or
    holds an evaluation that this one cannot be added to.
    """
    with held(folder):
        old = _stored(folder)
        return {name: old["methods"][name].get("images", []) for name in _staying(folder, old, evaluation)}


def add(folder: Path, rows: Sequence[Score], evaluation: Mapping[str, Any]) -> tuple[list[Score], dict[str, Any]]:
    """Writes an evaluation into the folder, beside what is there; returns all that is there then.

    A method that is scored again replaces what it was. Raises UserError as `expect_room`.
    """
    with held(folder):
        old = _stored(folder)
        staying = _staying(folder, old, evaluation)
        if staying:
            rows = [*rows, *(row for row in read_scores(folder) if row.method in staying)]
            methods = {name: old["methods"][name] for name in staying} | dict(evaluation["methods"])
            metrics = {name: _known(old["metrics"][name], record) for name, record in evaluation["metrics"].items()}
            evaluation = {**evaluation, "metrics": metrics, "methods": methods}
        write_scores(folder, rows, evaluation)
        return read_scores(folder), read_evaluation(folder)


def _stored(folder: Path) -> dict[str, Any]:
    """What the folder's evaluation.json says; nothing where there is none. Raises UserError where it is broken."""
    there = [name for name in (SCORES_FILE, EVALUATION_FILE) if (folder / name).exists()]
    found = read_evaluation(folder) if there else {}
    if found and not all(isinstance(found.get(key), dict) for key in ("protocol", "metrics", "methods")):
        raise UserError(f"out: {folder} holds an {EVALUATION_FILE} of something else, {_ANOTHER}")
    return found


def _staying(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The stored methods that the new evaluation does not score again."""
    for name, record in new["methods"].items():
        stored = old.get("methods", {}).get(name)
        if stored is not None and not _same_path(stored.get("path"), record["path"]):
            raise UserError(
                f"methods.{name}: {record['path']}, but {folder} has {name} from {stored.get('path')}, "
                "wanted another name or another out="
            )
    staying = [
        name
        for name, record in old.get("methods", {}).items()
        if name not in new["methods"] and not any(_regrouped(record, other) for other in new["methods"].values())
    ]
    if staying and (why := _unlike(old, new)):
        raise UserError(f"out: {folder} holds {', '.join(staying[:3])} scored by {why}, {_ANOTHER}")
    return staying


def _regrouped(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a method was one of a sweep's that is told apart once more: then it went with its runs."""
    group = old.get("group_by")
    return group is not None and group == new.get("group_by") and _same_path(old.get("path"), new["path"])


def _same_path(one: Any, other: Any) -> bool:
    return Path(str(one)).absolute() == Path(str(other)).absolute()


def _unlike(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first thing that makes scores of two evaluations incomparable; empty where nothing does."""
    for key in sorted({*old["protocol"], *new["protocol"]}):
        there, here = old["protocol"].get(key), new["protocol"].get(key)
        if there != here:
            return f"protocol.{key} {there}, not {here}" if key != "name" else f"protocol {there}, not {here}"
    for name, record in new["metrics"].items():
        stored = old["metrics"].get(name, {})
        if "unavailable" in record or "unavailable" in stored:
            continue  # then one of the two has no scores by it
        there, here = stored.get("versions", {}), record["versions"]
        for part in sorted({*there, *here}):
            if there.get(part) != here.get(part):
                return f"{name} with {part} {there.get(part)}, not {here.get(part)}"
    return ""


def _known(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a metric's two records the one with versions."""
    return old if "unavailable" in new else new
