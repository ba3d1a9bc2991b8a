"""What stands under a table: how its figures came, what they rest on, and what is not in it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.scoring.completeness import ALL_VIEWS, Compared
from eval.tables.choices import missing_choices
from eval.tables.statistics import FEW, LEVEL

if TYPE_CHECKING:
    from eval.tables.build import Difference, SetScore, TableSettings

_SHORT = 12  # digits of a hash
_AT_MOST = 6  # names in a list; evaluation.json has all
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")


@dataclass(frozen=True)
class Line:
    """short: a paper has room for it; the others are for whoever repeats the evaluation."""

    text: str
    short: bool = False


@dataclass(frozen=True)
class Found:
    """What a table is made of. labels: of the methods; compared: by metric; sets: scores of whole sets, by metric."""

    labels: Mapping[str, str]
    compared: Mapping[str, Compared]
    sets: Mapping[str, Mapping[str, "SetScore"]]
    allow_missing: bool
    differences: Sequence["Difference"]

    def lost(self) -> dict[str, set[tuple[str, str]]]:
        """{method: (image, view) that it has no score of by some metric}."""
        found: dict[str, set[tuple[str, str]]] = {}
        for compared in self.compared.values():
            for method, images in compared.lost.items():
                found.setdefault(method, set()).update((image, view) for image in images for view in images[image])
        return {method: found[method] for method in self.labels if method in found}


def footer_lines(settings: "TableSettings", found: Found, evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """The lines, in order. evaluation: as in `tables.build`."""
    scored = {method for compared in found.compared.values() for method, images in compared.values.items() if images}
    has_scores = bool(found.compared or found.sets)
    if not has_scores:
        yield Line(f"No runs yet: python -m eval table={settings.name} fills in what is measured.")
    yield from _missing_choices(settings, scored)
    if has_scores:
        yield Line(
            f"Measured: mean over n images (of an image's views first) and Student's {LEVEL:.0%} interval; "
            "bold: the best of those measured.",
            short=True,
        )
        yield from _images(settings, found, evaluation)
    yield from _lost(settings, found)
    yield from _of_sets(settings, found)
    yield from _differences(settings, found)
    yield from _not_there(settings, evaluation, has_scores)
    yield from _of_methods(found.labels, evaluation)
    yield from _protocol(settings, evaluation)
    yield from _versions(settings, evaluation)
    if any(row.paper for row in settings.rows.values()):
        text = f"Paper: {settings.source}. Absolute values do not carry over from one implementation to another."
    else:
        text = f"Paper: {settings.source} gives no figures for this comparison."
    yield Line(text, short=any(row.paper for row in settings.rows.values()))


def _missing_choices(settings: "TableSettings", scored: set[str]) -> Iterator[Line]:
    """Configs without which no run can be one of the table's rows."""
    missing = {method: path for method, path in missing_choices(settings).items() if method not in scored}
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        yield Line(f"{', '.join(missing.values())} {verb} not there yet: no run can be {' or '.join(missing)}.")


def _images(settings: "TableSettings", found: Found, evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """How many images were compared, and which were left out of the comparison."""
    if not found.compared:
        return
    base = max(found.compared.values(), key=lambda compared: len(compared.common))
    taking_part = [method for method in found.labels if base.values.get(method)]
    known = sorted(_known_images(found, evaluation))
    if not base.common:
        yield Line(_nothing_common(found, taking_part, known), short=True)
        return
    several = len(taking_part) > 1
    left_out = [f"{image} ({_lacking(image, found.labels, base)})" for image in known if image not in base.common]
    rest = f"; left out: {_some(left_out)}" if left_out else ""
    count = f"{'paired, ' * several}{len(base.common)} {'common ' * several}of {len(known)}"
    yield Line(f"Images: {count}{rest}.", short=True)
    for metric, column in settings.columns.items():
        compared = found.compared.get(metric)
        if compared and len(compared.common) < len(base.common):
            yield Line(
                f"{column.label}: over {len(compared.common)} images only; the others have no score by it.", True
            )
    if len(base.common) == 1:
        yield Line("One image alone has no interval.", short=True)
    elif any(1 < len(compared.common) < FEW for compared in found.compared.values()):
        yield Line(
            f"Few: an interval over fewer than {FEW} images holds what it says only where scores are normally "
            "distributed, which so few cannot show.",
            short=True,
        )


def _known_images(found: Found, evaluation: Mapping[str, Any]) -> set[str]:
    known = {image for method in evaluation.get("methods", {}).values() for image in method.get("images", [])}
    for compared in found.compared.values():
        for images in (*compared.values.values(), *compared.lost.values()):
            known.update(images)
    return known


def _nothing_common(found: Found, taking_part: Sequence[str], known: Sequence[str]) -> str:
    if not taking_part:
        return f"Images: none of {len(known)} has all of its views: nothing can be compared."
    names = ", ".join(found.labels[method] for method in taking_part)
    return f"Images: none of {len(known)} is common to {names}: nothing can be compared."


def _lacking(image: str, labels: Mapping[str, str], base: Compared) -> str:
    """Whose fault it is that an image is not compared."""
    told = []
    for method, label in labels.items():
        if image in base.lost.get(method, {}):
            told.append(f"{label} lost views")
        elif base.values.get(method) and image not in base.values[method]:
            told.append(f"no score of {label}")
    return ", ".join(told) or "no score"


def _lost(settings: "TableSettings", found: Found) -> Iterator[Line]:
    """The views that each method lost, and what follows from it."""
    for method, views in found.lost().items():
        metrics = [metric for metric, compared in found.compared.items() if method in compared.lost]
        taking_part = [m for m, c in found.compared.items() if method in c.values or method in c.lost]
        by = "" if len(metrics) == len(taking_part) else f" by {_labels(settings, metrics)}"
        label = found.labels[method]
        images = sorted({image for image, _ in views})
        count = f"{len(views)} view{'s' * (len(views) > 1)} of {len(images)} image{'s' * (len(images) > 1)}"
        ranked = "not ranked" if not found.allow_missing else "ranked over what is left (allow_missing=true)"
        yield Line(f"Incomplete, {ranked}: {label} lost {count}{by}.", short=True)
        yield Line(f"Lost by {label}: {_some(_lost_of(image, views) for image in images)}.")
    unpaired = sorted({image for compared in found.compared.values() for image in compared.unpaired})
    if unpaired:
        yield Line(f"Views of other names, each image averaged over its own: {_some(unpaired)}.", short=True)


def _labels(settings: "TableSettings", metrics: Iterable[str]) -> str:
    return ", ".join(settings.columns[metric].label for metric in settings.columns if metric in metrics)


def _lost_of(image: str, views: Iterable[tuple[str, str]]) -> str:
    of_image = sorted(view for other, view in views if other == image)
    if of_image == [ALL_VIEWS]:
        return image
    return f"{image} ({_some(of_image)})"


def _of_sets(settings: "TableSettings", found: Found) -> Iterator[Line]:
    """How large the whole sets are, and whether they are the same."""
    for metric, methods in found.sets.items():
        label, counts = settings.columns[metric].label, {name: of.interval.count for name, of in methods.items()}
        if not all(of.alike for of in methods.values()):
            told = ", ".join(f"{found.labels[name]} {count}" for name, count in counts.items())
            yield Line(f"{label}: not over the same views of each method ({told}): not compared.", short=True)
        elif any(counts.values()):
            yield Line(f"{label}: over {max(counts.values())} views of each method; it has no interval.", short=True)
        for name, of in methods.items():
            if not of.complete and name not in found.lost():
                yield Line(f"Incomplete, not ranked by {label}: {found.labels[name]} lost views.", short=True)


def _differences(settings: "TableSettings", found: Found) -> Iterator[Line]:
    """Every method minus the baseline, image by image."""
    for difference in found.differences:
        told = []
        for metric, interval in difference.metrics.items():
            column = settings.columns[metric]
            mean, low, high = (f"{value:+.{column.digits}f}" for value in (interval.mean, interval.low, interval.high))
            bounds = f"[{low}, {high}]" if interval.known else "without interval"
            told.append(f"{column.label} {mean} {bounds} (n={interval.count})")
        names = (found.labels[difference.method], found.labels[difference.baseline])
        yield Line(f"{' minus '.join(names)}, paired: {'; '.join(told)}.", short=True)


def _not_there(settings: "TableSettings", evaluation: Mapping[str, Any], has_scores: bool) -> Iterator[Line]:
    metrics = evaluation.get("metrics", {})
    for metric, column in settings.columns.items():
        if why := metrics.get(metric, {}).get("unavailable"):
            yield Line(f"{column.label}: not available: {_one_line(why)}")
        elif has_scores and metric not in metrics:
            yield Line(f"{column.label}: not scored.")


def _of_methods(labels: Mapping[str, str], evaluation: Mapping[str, Any]) -> Iterator[Line]:
    """What failed, and what else is to be known of a method."""
    for method, record in sorted(evaluation.get("methods", {}).items()):
        label, failed = labels.get(method, method), record.get("failed", {})
        if failed:
            told = [f"{name} ({_one_line(why)})" for name, why in sorted(failed.items())]
            yield Line(f"Failed, {label}: {len(failed)}: {_some(told, '; ')}.")
        for note in record.get("notes", []):
            yield Line(f"{label}: {_one_line(note)}.")


def _protocol(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[Line]:
    protocol = evaluation.get("protocol", {})
    if not protocol:
        yield Line(f"Protocol: {settings.protocol} (conf/protocol/{settings.protocol}.yaml).")
        return
    name = protocol.get("name", "unknown")
    told = [
        f"{key} {value}"
        for key, value in sorted(protocol.items())
        if key not in ("name", "metrics") and value is not None
    ]
    yield Line(f"Protocol: {name}{': ' if told else ''}{', '.join(told)}.", short=True)
    if name != settings.protocol:
        yield Line(f"Scored by another protocol than the table's: {name}, wanted {settings.protocol}.", short=True)


def _versions(settings: "TableSettings", evaluation: Mapping[str, Any]) -> Iterator[Line]:
    metrics = evaluation.get("metrics", {})
    told = []
    for metric, column in settings.columns.items():
        versions = metrics.get(metric, {}).get("versions", {})
        if versions:
            told.append(f"{column.label}: {_listed(versions.items())}")
    if told:
        yield Line(f"Versions: {'; '.join(told)}.")


def _listed(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(
        f"{name} {_HASH.sub(lambda found: found[0][:_SHORT], str(value))}" for name, value in sorted(versions)
    )


def _some(names: Iterable[str], between: str = ", ") -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f"{between}and {len(names) - _AT_MOST} more" if len(names) > _AT_MOST else ""
    return between.join(names[:_AT_MOST]) + more


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
