"""What stands under a table: how its figures came, what they rest on, and what is not in it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.statistics import LEVEL, RESAMPLES, paired_difference

if TYPE_CHECKING:
    from eval.tables import TableSettings, Values

_SHORT = 12  # digits of a hash
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")


@dataclass(frozen=True)
class Sample:
    """scored: the images of each method that has scores; common: those of all; known: all that were looked at."""

    scored: Mapping[str, set[str]]
    common: Sequence[str]
    known: Sequence[str]


def footer_lines(
    settings: "TableSettings",
    labels: Mapping[str, str],
    values: "Values",
    wholes: Mapping[str, Mapping[str, float]],
    sample: Sample,
    evaluation: Mapping[str, Any],
) -> Iterator[str]:
    """The lines, in order. labels: of the methods; wholes: scores of whole sets; the rest as in `tables.build`."""
    has_scores = bool(sample.scored or any(metric in wholes for metric in settings.columns))
    if not has_scores:
        yield f"No runs yet: python -m eval table={settings.name} fills in what is ours."
    if has_scores:
        yield (
            f"Ours: mean over images (of an image's views first) and {LEVEL:.0%} bootstrap interval "
            f"({RESAMPLES:,} resamples of the images); bold: the best of ours."
        )
        yield from _images(settings, labels, values, sample)
    yield from _differences(settings, labels, values)
    yield from _not_there(settings, evaluation, has_scores)
    yield from _of_methods(labels, evaluation)
    yield from _protocol(settings, evaluation)
    yield from _versions(settings, evaluation)
    if any(row.paper for row in settings.rows.values()):
        yield f"Paper: {settings.source}. Absolute values do not carry over from one implementation to another."
    else:
        yield f"Paper: {settings.source} gives no figures for this comparison."


def _images(settings: "TableSettings", labels: Mapping[str, str], values: "Values", sample: Sample) -> Iterator[str]:
    """How many images were compared, and which were left out of the comparison."""
    if not sample.scored:
        return
    several = len(sample.scored) > 1
    if not sample.common:
        names = ", ".join(label for method, label in labels.items() if method in sample.scored)
        yield f"Images: none of {len(sample.known)} is common to {names}: nothing can be compared."
        return
    left_out = [image for image in sample.known if image not in sample.common]
    paired = "paired, " if several else ""
    told = [f"{image} ({_lacking(image, labels, sample)})" for image in left_out]
    rest = f"; left out: {', '.join(told)}" if told else ""
    yield f"Images: {paired}{len(sample.common)} {'common ' if several else ''}of {len(sample.known)}{rest}."
    for metric, column in settings.columns.items():
        counts = {len(images) for images in values.get(metric, {}).values()}
        if counts and counts != {len(sample.common)}:
            yield f"{column.label}: over {min(counts)} images only; the others have no score by it."
    if len(sample.common) == 1:
        yield "One image alone has no interval."


def _lacking(image: str, labels: Mapping[str, str], sample: Sample) -> str:
    without = [label for method, label in labels.items() if image not in sample.scored.get(method, {image})]
    return f"no score of {', '.join(without)}"


def _differences(settings: "TableSettings", labels: Mapping[str, str], values: "Values") -> Iterator[str]:
    """Every method minus the baseline, image by image."""
    for method, label in labels.items():
        told = []
        for metric, column in settings.columns.items():
            of_method = values.get(metric, {})
            if method == settings.baseline or settings.baseline not in of_method or method not in of_method:
                continue
            found = paired_difference(of_method[method], of_method[settings.baseline])
            if found is None or not found.known:
                continue
            mean, low, high = (f"{value:+.{column.digits}f}" for value in (found.mean, found.low, found.high))
            told.append(f"{column.label} {mean} [{low}, {high}]")
        if told:
            yield f"{label} minus {labels[settings.baseline]}, paired: {'; '.join(told)}."


def _not_there(settings: "TableSettings", evaluation: Mapping[str, Any], has_scores: bool) -> Iterator[str]:
    metrics = evaluation.get("metrics", {})
    for metric, column in settings.columns.items():
        if why := metrics.get(metric, {}).get("unavailable"):
            yield f"{column.label}: not available: {_one_line(why)}"
        elif has_scores and metric not in metrics:
            yield f"{column.label}: not scored."


def _of_methods(labels: Mapping[str, str], evaluation: Mapping[str, Any]) -> Iterator[str]:
    """What failed, and what else is to be known of a method."""
    for method, record in sorted(evaluation.get("methods", {}).items()):
        label, failed = labels.get(method, method), record.get("failed", {})
        if failed:
            told = "; ".join(f"{name} ({_one_line(why)})" for name, why in sorted(failed.items()))
            yield f"Failed, {label}: {len(failed)}: {told}."
        for note in record.get("notes", []):
            yield f"{label}: {_one_line(note)}."


def _protocol(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[str]:
    protocol = evaluation.get("protocol", {})
    if not protocol:
        yield f"Protocol: {settings.protocol} (conf/protocol/{settings.protocol}.yaml)."
        return
    name = protocol.get("name", "unknown")
    told = [
        f"{key} {value}"
        for key, value in sorted(protocol.items())
        if key not in ("name", "metrics") and value is not None
    ]
    yield f"Protocol: {name}{': ' if told else ''}{', '.join(told)}."
    if name != settings.protocol:
        yield f"Scored by another protocol than the table's: {name}, wanted {settings.protocol}."


def _versions(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[str]:
    metrics = evaluation.get("metrics", {})
    told = []
    for metric, column in settings.columns.items():
        versions = metrics.get(metric, {}).get("versions", {})
        if versions:
            told.append(f"{column.label}: {_listed(versions.items())}")
    if told:
        yield f"Versions: {'; '.join(told)}."


def _listed(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(
        f"{name} {_HASH.sub(lambda found: found[0][:_SHORT], str(value))}" for name, value in sorted(versions)
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
