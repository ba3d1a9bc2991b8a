"""Groups of runs as rows: for people (means with intervals in one cell) and for other programs (a column for each)."""

import math
from collections.abc import Sequence

from eval.compare.group_means import Figure, GroupDifference, Grouped, GroupMean
from eval.compare.runs_table import NOTHING, Row, markdown_table, text_of
from eval.tables.statistics import Interval

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
NOT_RANKED = " *"
_MOST_LINES = 4  # that say which group lacks what
_LONG = 10_000  # from here on numbers have their thousands apart


def group_rows(grouped: Grouped) -> list[Row]:
    """For CSV and JSON: full precision, bounds in columns of their own, nothing where there is no value."""
    rows: list[Row] = []
    for place, group in enumerate(grouped.groups):
        row: Row = dict(zip(grouped.keys, group.values, strict=True))
        row |= {"runs": len(group.runs), "finished": sum(run.finished for run in group.runs)}
        for figure in grouped.figures:
            mean = figure.means[place]
            row |= _bounds(figure.name, mean.interval)
            row |= {f"{figure.name} ranked": str(mean.ranked).lower() if mean.interval else None}
            if figure.differences:
                difference = figure.differences[place]
                column = f"{figure.name} minus {grouped.baseline}"
                row |= _bounds(column, difference.interval if difference else None)
                row |= {f"{column} paired by": difference.how if difference else None}
        rows.append(row)
    return rows


def group_markdown(grouped: Grouped) -> str:
    """A cell for each figure: mean ± half the interval's width (n); and one for its difference to the baseline."""
    heading = [*grouped.keys, "runs"]
    figures = grouped.telling()
    for figure in figures:
        heading.append(f"{figure.name}{ARROWS[figure.better]}")
        if figure.differences:
            heading.append(f"minus {grouped.baseline}")
    lines = [heading, [*["---"] * len(grouped.keys), *["--:"] * (len(heading) - len(grouped.keys))]]
    for place, group in enumerate(grouped.groups):
        cells = [*group.values, runs_cell(len(group.runs), sum(run.finished for run in group.runs))]
        for figure in figures:
            mean = mean_cell(figure.means[place])
            cells.append(f"**{mean}**" if figure.means[place].best else mean)
            if figure.differences:
                cells.append(difference_cell(figure.differences[place]))
        lines.append(cells)
    return markdown_table(lines)


def runs_cell(count: int, finished: int) -> str:
    """How many, and how many of them are not finished."""
    return str(count) if finished == count else f"{count} ({count - finished} not finished)"


def mean_cell(mean: GroupMean) -> str:
    """mean ± half width (n), with a star where it is not ranked."""
    if mean.interval is None:
        return NOTHING
    return f"{_with_interval(mean.interval)} ({mean.interval.count}){NOT_RANKED * bool(mean.lacks)}"


def difference_cell(difference: GroupDifference | None) -> str:
    """As `mean_cell`, with a sign; `unpaired` instead of how many pairs where there are none."""
    if difference is None:
        return NOTHING
    sign = "+" if difference.interval.mean > 0 else ""
    how = "unpaired" if difference.how == "unpaired" else difference.interval.count
    return f"{sign}{_with_interval(difference.interval)} ({how})"


def notes_of(grouped: Grouped) -> list[str]:
    """What a reader of the groups must know, a line each."""
    lines = [
        *_over_lines(grouped.figures),
        *([f"averaged over within groups: {', '.join(grouped.pooled)}"] if grouped.pooled else []),
        *_lacking_lines(grouped),
        *_left_out_lines(grouped),
        *_pairing_lines(grouped),
        *_constant_lines(grouped),
    ]
    if any(mean.interval and not mean.interval.known for figure in grouped.figures for mean in figure.means):
        lines.append("without ±: a single photo and seed, which has no interval")
    return lines


def _over_lines(figures: Sequence[Figure]) -> list[str]:
    by_over = {over: [figure.name for figure in figures if figure.over == over] for over in ("photos", "seeds")}
    told = []
    if by_over["photos"]:
        told.append("mean ± half of the 95 % interval (n photos): a photo's seeds are averaged first")
    if by_over["seeds"]:
        of = f" of {', '.join(by_over['seeds'])}" if by_over["photos"] else ""
        told.append(f"mean ± half of the 95 % interval{of} (n seeds of one photo, which says nothing of others)")
    return told


def _lacking_lines(grouped: Grouped) -> list[str]:
    """One line for each group and what it lacks, with all figures that lack the same."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for figure in grouped.figures:
        for group, mean in zip(grouped.groups, figure.means, strict=True):
            if mean.interval and mean.lacks:
                found.setdefault((group.label, tuple(map(str, mean.lacks))), []).append(figure.name)
    if len(found) > _MOST_LINES:
        labels = dict.fromkeys(label for label, _ in found)
        counts = sorted(len(lacks) for _, lacks in found)
        return [
            f"not ranked (*): {len(labels)} groups lack {counts[0]} to {counts[-1]} photos and seeds that others have; "
            "allow_missing=true takes those that all have, if there are any"
        ]
    return [
        f"not ranked (*): {label} lacks {len(lacks)} that others have ({'; '.join(lacks[:3])}"
        f"{'; ...' * (len(lacks) > 3)}), by {', '.join(names)}"
        for (label, lacks), names in found.items()
    ]


def _left_out_lines(grouped: Grouped) -> list[str]:
    """One line for all figures that leave the same out."""
    found: dict[tuple[str, ...], list[str]] = {}
    for figure in grouped.figures:
        found.setdefault(tuple(map(str, figure.left_out)), []).append(figure.name)
    return [
        f"left out, for not every group has them: {'; '.join(samples[:3])}{'; ...' * (len(samples) > 3)} "
        f"({len(samples)}), by {', '.join(names)}"
        for samples, names in found.items()
        if samples
    ]


def _pairing_lines(grouped: Grouped) -> list[str]:
    if grouped.baseline is None:
        return []
    ways = {each.how for figure in grouped.figures for each in figure.differences if each}
    if not ways:
        return [f"no differences to {grouped.baseline}: no other group has a figure that it has, too"]
    paired = " or ".join(sorted(ways - {"unpaired"}))
    lines = [f"differences to {grouped.baseline} are paired by {paired} (n pairs)"] if paired else []
    if "unpaired" in ways:
        lines.append(f"unpaired: no photo is {grouped.baseline}'s, too; the difference of two samples (Welch)")
    return lines


def _constant_lines(grouped: Grouped) -> list[str]:
    """Figures without a column."""
    told = [
        f"{figure.name} {next(mean.interval.mean for mean in figure.means if mean.interval):.6g}"
        for figure in grouped.figures
        if figure.constant
    ]
    return [f"the same in all runs: {', '.join(told)}"] if told else []


def _with_interval(interval: Interval) -> str:
    """With two digits of the half width, and as many of the mean after the point."""
    if not interval.known:
        return text_of(float(interval.mean))
    if interval.half_width == 0:
        return f"{interval.mean:.6g} ± 0"
    digits = max(0, 1 - math.floor(math.log10(interval.half_width)))
    sep = "," if abs(interval.mean) >= _LONG else ""
    return f"{interval.mean:{sep}.{digits}f} ± {interval.half_width:{sep}.{digits}f}"


def _bounds(name: str, interval: Interval | None) -> Row:
    known = interval is not None and interval.known
    return {
        name: interval.mean if interval else None,
        f"{name} low": interval.low if interval and known else None,
        f"{name} high": interval.high if interval and known else None,
        f"{name} n": interval.count if interval else None,
    }
