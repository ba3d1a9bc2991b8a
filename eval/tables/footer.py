"""What stands under a table: how its figures came, what they rest on, and what is not in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.scoring.completeness import ALL_VIEWS, Compared
from eval.tables.footer_sources import (
    Line,
    method_lines,
    missing_choice_lines,
    missing_metric_lines,
    protocol_lines,
    some_of,
    version_lines,
)
from eval.tables.statistics import FEW, LEVEL

if TYPE_CHECKING:
    from eval.tables.settings import TableSettings
    from eval.tables.statistics import Difference, SetScore


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
    yield from missing_choice_lines(settings, scored)
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
    yield from missing_metric_lines(settings, evaluation, has_scores)
    yield from method_lines(found.labels, evaluation)
    yield from protocol_lines(settings, evaluation)
    yield from version_lines(settings, evaluation)
    if any(row.paper for row in settings.rows.values()):
        text = f"Paper: {settings.source}. Absolute values do not carry over from one implementation to another."
    else:
        text = f"Paper: {settings.source} gives no figures for this comparison."
    yield Line(text, short=any(row.paper for row in settings.rows.values()))


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
    rest = f"; left out: {some_of(left_out)}" if left_out else ""
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
        for images in compared.values.values():
            known.update(images)
        for lost in compared.lost.values():
            known.update(lost)
    return known


def _nothing_common(found: Found, taking_part: Sequence[str], known: Sequence[str]) -> str:
    if not taking_part:
        return f"Images: none of {len(known)} has all of its views: nothing can be compared."
    names = ", ".join(found.labels[method] for method in taking_part)
    return f"Images: none of {len(known)} is common to {names}: nothing can be compared."


def _lacking(image: str, labels: Mapping[str, str], base: Compared) -> str:
    """Whose fault it is that an image is not compared."""
    parts = []
    for method, label in labels.items():
        if image in base.lost.get(method, {}):
            parts.append(f"{label} lost views")
        elif base.values.get(method) and image not in base.values[method]:
            parts.append(f"no score of {label}")
    return ", ".join(parts) or "no score"


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
        yield Line(f"Lost by {label}: {some_of(_lost_of(image, views) for image in images)}.")
    unpaired = sorted({image for compared in found.compared.values() for image in compared.unpaired})
    if unpaired:
        yield Line(f"Views of other names, each image averaged over its own: {some_of(unpaired)}.", short=True)


def _labels(settings: "TableSettings", metrics: Iterable[str]) -> str:
    return ", ".join(settings.columns[metric].label for metric in settings.columns if metric in metrics)


def _lost_of(image: str, views: Iterable[tuple[str, str]]) -> str:
    of_image = sorted(view for other, view in views if other == image)
    if of_image == [ALL_VIEWS]:
        return image
    return f"{image} ({some_of(of_image)})"


def _of_sets(settings: "TableSettings", found: Found) -> Iterator[Line]:
    """How large the whole sets are, and whether they are the same."""
    for metric, methods in found.sets.items():
        label, counts = settings.columns[metric].label, {name: of.interval.count for name, of in methods.items()}
        if not all(of.alike for of in methods.values()):
            parts = ", ".join(f"{found.labels[name]} {count}" for name, count in counts.items())
            yield Line(f"{label}: not over the same views of each method ({parts}): not compared.", short=True)
        elif any(counts.values()):
            yield Line(f"{label}: over {max(counts.values())} views of each method; it has no interval.", short=True)
        for name, of in methods.items():
            if not of.complete and name not in found.lost():
                yield Line(f"Incomplete, not ranked by {label}: {found.labels[name]} lost views.", short=True)


def _differences(settings: "TableSettings", found: Found) -> Iterator[Line]:
    """Every method minus the baseline, image by image."""
    for difference in found.differences:
        parts = []
        for metric, interval in difference.metrics.items():
            column = settings.columns[metric]
            mean, low, high = (f"{value:+.{column.digits}f}" for value in (interval.mean, interval.low, interval.high))
            bounds = f"[{low}, {high}]" if interval.known else "without interval"
            parts.append(f"{column.label} {mean} {bounds} (n={interval.count})")
        names = (found.labels[difference.method], found.labels[difference.baseline])
        yield Line(f"{' minus '.join(names)}, paired: {'; '.join(parts)}.", short=True)
