"""What groups of runs have on average, how sure that is, and by how much they differ from a baseline.

A photo is what was drawn at random: its runs (seeds, and whatever else differs within a group) are averaged first, and
intervals are over photos; over seeds where all runs are of one photo, which says nothing of other photos. A group that
lacks a photo or a seed that others have is not ranked: its mean is one over other things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.compare.compared import ComparedRun
from eval.compare.grouping import SEED, Group, Sample, differing, samples_of
from eval.tables.statistics import Interval, mean_interval, paired_difference, unpaired_difference
from worldgen.errors import UserError

Over = Literal["photos", "seeds"]
How = Literal["photo and seed", "seed", "photo", "unpaired"]
Values = Mapping[Sample, float]


@dataclass(frozen=True)
class GroupMean:
    """One figure of one group. interval: None where no run has it; lacks: photos and seeds that another group has and
    this one has not, or not in all its runs; best: of those that are ranked."""

    interval: Interval | None
    lacks: tuple[Sample, ...] = ()
    best: bool = False

    @property
    def ranked(self) -> bool:
        """Whether it stands beside the others: it lacks nothing that they have."""
        return self.interval is not None and not self.lacks


@dataclass(frozen=True)
class GroupDifference:
    """A group's figure minus the baseline's. how: what a pair has in common."""

    interval: Interval
    how: How


@dataclass(frozen=True)
class Figure:
    """One column: a figure of all groups. better: `lower`, `higher`, or None where that is not known; over: what the
    intervals are over; differences: empty without a baseline, None
    where there is nothing to take one of; constant: all runs, of all groups, have the same value;
    left_out: photos and seeds that not every group with values has, where these are to be left out."""

    name: str
    better: str | None
    over: Over
    means: tuple[GroupMean, ...]
    differences: tuple[GroupDifference | None, ...] = ()
    constant: bool = False
    left_out: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Grouped:
    """The groups, in the order of each figure's means. pooled: settings that differ within a group."""

    keys: tuple[str, ...]
    groups: tuple[Group, ...]
    figures: tuple[Figure, ...]
    baseline: str | None
    pooled: tuple[str, ...]

    def telling(self) -> list[Figure]:
        """Those that are not the same in all runs; all, where they all are."""
        return [figure for figure in self.figures if not figure.constant] or list(self.figures)

    def ordered(self, name: str) -> "Grouped":
        """The same, best first by a figure of that name (largest first where it is not known what is better); groups
        that are not ranked come after those that are."""
        figure = next(figure for figure in self.figures if figure.name == name)
        sign = 1 if figure.better == "lower" else -1

        def place(number: int) -> tuple[int, float]:
            mean = figure.means[number]
            return (
                2 if mean.interval is None else int(not mean.ranked)
            ), sign * mean.interval.mean if mean.interval else 0

        order = sorted(range(len(self.groups)), key=place)
        figures = [
            replace(
                each,
                means=tuple(each.means[number] for number in order),
                differences=tuple(each.differences[number] for number in order) if each.differences else (),
            )
            for each in self.figures
        ]
        groups = tuple(self.groups[number] for number in order)
        return replace(self, groups=groups, figures=tuple(figures))


def grouped(
    groups: Sequence[Group],
    keys: Sequence[str],
    figures: Mapping[str, Mapping[ComparedRun, float]],
    better: Mapping[str, str | None],
    baseline: str | None = None,
    allow_missing: bool = False,
) -> Grouped:
    """Means of every figure over each group, and differences to the group that `baseline` names.

    figures: {name: {run: value}}, of the runs that have it. allow_missing: means are over the photos and seeds that all
    groups have, and all are ranked. Raises UserError for a baseline that is no group.
    """
    samples = samples_of([run for group in groups for run in group.runs])
    labels = [group.label for group in groups]
    if baseline is not None and baseline not in labels:
        raise UserError(f"baseline: {baseline}, wanted one of {'; '.join(labels[:12])}")
    base = None if baseline is None else labels.index(baseline)
    pooled = sorted({key for group in groups for key in differing(group.runs)} - {SEED, *keys})
    columns = [
        _figure(name, groups, values, samples, better.get(name), base, allow_missing)
        for name, values in figures.items()
    ]
    return Grouped(tuple(keys), tuple(groups), tuple(columns), baseline, tuple(pooled))


def _figure(
    name: str,
    groups: Sequence[Group],
    values: Mapping[ComparedRun, float],
    samples: Mapping[ComparedRun, Sample],
    better: str | None,
    base: int | None,
    allow_missing: bool,
) -> Figure:
    whole = [_by_sample(group, values, samples) for group in groups]
    wanted = {sample for of_group in whole for sample in of_group}
    lacks = []
    for group, found in zip(groups, whole, strict=True):
        partly = {samples[run] for run in group.runs if run not in values} & wanted
        lacks.append(tuple(sorted((wanted - found.keys()) | partly, key=str)) if found else ())
    left_out = tuple(sorted({sample for lost in lacks for sample in lost}, key=str)) if allow_missing else ()
    if len(left_out) == len(wanted):  # then nothing is common, and this is said as without allow_missing
        left_out = ()
    if left_out:
        whole = [{sample: value for sample, value in found.items() if sample not in left_out} for found in whole]
        lacks = [() for _ in lacks]
        wanted -= set(left_out)
    over: Over = "photos" if len({sample.photo for sample in wanted}) > 1 else "seeds"
    intervals = [_interval(found, over) for found in whole]
    means = [GroupMean(interval, lacking) for interval, lacking in zip(intervals, lacks, strict=True)]
    best = _best([mean.interval.mean if mean.interval and mean.ranked else None for mean in means], better)
    means = [GroupMean(mean.interval, mean.lacks, place in best) for place, mean in enumerate(means)]
    differences: tuple[GroupDifference | None, ...] = ()
    if base is not None:
        whole = [{s: v for s, v in found.items() if s not in lost} for found, lost in zip(whole, lacks, strict=True)]
        differences = tuple(
            None if place == base else _difference(found, whole[base], over) for place, found in enumerate(whole)
        )
    constant = len(values) > 1 and len(set(values.values())) == 1
    return Figure(name, better, over, tuple(means), differences, constant, left_out)


def _by_sample(group: Group, values: Mapping[ComparedRun, float], samples: Mapping[ComparedRun, Sample]) -> Values:
    """The mean of the runs of each photo and seed."""
    found: dict[Sample, list[float]] = {}
    for run in group.runs:
        if run in values:
            found.setdefault(samples[run], []).append(values[run])
    return {sample: sum(several) / len(several) for sample, several in found.items()}


def _by_unit(values: Values, over: Over) -> dict[str, float]:
    """{photo: mean over its seeds}, or {seed: value}."""
    found: dict[str, list[float]] = {}
    for sample, value in values.items():
        found.setdefault(sample.photo if over == "photos" else sample.seed, []).append(value)
    return {unit: sum(several) / len(several) for unit, several in found.items()}


def _interval(values: Values, over: Over) -> Interval | None:
    return mean_interval(_by_unit(values, over).values()) if values else None


def _best(means: Sequence[float | None], better: str | None) -> set[int]:
    known = [mean for mean in means if mean is not None]
    if better is None or len(known) < 2:
        return set()
    best = min(known) if better == "lower" else max(known)
    return {place for place, mean in enumerate(means) if mean == best}


def _difference(values: Values, base: Values, over: Over) -> GroupDifference | None:
    """Paired by photo and seed; by photo where no seed is shared; of two separate samples where no photo is."""
    if not values or not base:
        return None
    common = values.keys() & base.keys()
    if common:
        how: How = "photo and seed" if over == "photos" and any(sample.seed for sample in common) else "photo"
        pairs = [_by_unit({sample: side[sample] for sample in common}, over) for side in (values, base)]
        found = paired_difference(*pairs)
        assert found is not None
        return GroupDifference(found, how if over == "photos" else "seed")
    first, second = _by_unit(values, over), _by_unit(base, over)
    if over == "photos" and (found := paired_difference(first, second)):
        return GroupDifference(found, "photo")
    return GroupDifference(unpaired_difference(first.values(), second.values()), "unpaired")
