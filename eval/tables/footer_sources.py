"""What a table's figures rest on: missing configs and metrics, each method's failures, the protocol, versions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.tables.choices import missing_choices

if TYPE_CHECKING:
    from eval.tables.settings import TableSettings

_SHORT = 12  # digits of a hash
_AT_MOST = 6  # names in a list; evaluation.json has all
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")


@dataclass(frozen=True)
class Line:
    """short: a paper has room for it; the others are for whoever repeats the evaluation."""

    text: str
    short: bool = False


def missing_choice_lines(settings: "TableSettings", scored: set[str]) -> Iterator[Line]:
    """Configs without which no run can be one of the table's rows."""
    missing = {method: path for method, path in missing_choices(settings).items() if method not in scored}
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        yield Line(f"{', '.join(missing.values())} {verb} not there yet: no run can be {' or '.join(missing)}.")


def missing_metric_lines(settings: "TableSettings", evaluation: Mapping[str, Any], has_scores: bool) -> Iterator[Line]:
    """Columns that could not be scored, and why."""
    metrics = evaluation.get("metrics", {})
    for metric, column in settings.columns.items():
        if why := metrics.get(metric, {}).get("unavailable"):
            yield Line(f"{column.label}: not available: {_one_line(why)}")
        elif has_scores and metric not in metrics:
            yield Line(f"{column.label}: not scored.")


def method_lines(labels: Mapping[str, str], evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """What failed, and what else is to be known of a method."""
    for method, record in sorted(evaluation.get("methods", {}).items()):
        label, failed = labels.get(method, method), record.get("failed", {})
        if failed:
            parts = [f"{name} ({_one_line(why)})" for name, why in sorted(failed.items())]
            yield Line(f"Failed, {label}: {len(failed)}: {some_of(parts, '; ')}.")
        for note in record.get("notes", []):
            yield Line(f"{label}: {_one_line(note)}.")


def protocol_lines(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """What was scored, by the protocol's settings."""
    protocol = evaluation.get("protocol", {})
    if not protocol:
        yield Line(f"Protocol: {settings.protocol} (conf/protocol/{settings.protocol}.yaml).")
        return
    name = protocol.get("name", "unknown")
    parts = [
        f"{key} {value}"
        for key, value in sorted(protocol.items())
        if key not in ("name", "metrics") and value is not None
    ]
    yield Line(f"Protocol: {name}{': ' if parts else ''}{', '.join(parts)}.", short=True)
    if name != settings.protocol:
        yield Line(f"Scored by another protocol than the table's: {name}, wanted {settings.protocol}.", short=True)


def version_lines(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """The packages and weights that decide each metric's values."""
    metrics = evaluation.get("metrics", {})
    parts = []
    for metric, column in settings.columns.items():
        versions = metrics.get(metric, {}).get("versions", {})
        if versions:
            parts.append(f"{column.label}: {_listed(versions.items())}")
    if parts:
        yield Line(f"Versions: {'; '.join(parts)}.")


def _listed(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(
        f"{name} {_HASH.sub(lambda found: found[0][:_SHORT], str(value))}" for name, value in sorted(versions)
    )


def some_of(names: Iterable[str], between: str = ", ") -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f"{between}and {len(names) - _AT_MOST} more" if len(names) > _AT_MOST else ""
    return between.join(names[:_AT_MOST]) + more


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
