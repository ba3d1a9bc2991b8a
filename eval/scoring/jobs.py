"""How a picture gets its scores: loaded once, kept where that is asked for, and shown to each metric that it lacks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from eval.metrics.base import Companion, Metric, Needs
from eval.protocols.pictures import Picture, Source, coverage_of
from eval.scoring.flat import expect_texture
from eval.scoring.kept_views import keep_view
from worldgen.errors import UserError

BATCH = 8  # pictures that a metric of the main process gets at once


@dataclass(frozen=True)
class Job:
    """A picture, by its place in the list, and the names of the metrics that it still lacks. covered: whether its
    coverage is asked for, too; keep: the PNG that it is to be written to."""

    place: int
    picture: Picture
    metrics: tuple[str, ...]
    covered: bool = False
    keep: Path | None = None


@dataclass
class Found:
    """What became of a job: values by metric, and why the others are missing; coverage: where it was asked for."""

    place: int
    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    coverage: float | None = None


def companion_of(picture: Picture, needs: Needs) -> Source | str | None:
    """What a metric compares the picture with, not loaded yet; "" for nothing, None where the picture has none."""
    if needs == "nothing":
        return ""
    return {"truth": picture.truth, "photo": picture.photo, "text": picture.text, "lens": picture.lens}[needs]


def in_batches(jobs: Sequence[Job], metrics: Mapping[str, Metric]) -> Iterator[Found]:
    """Scores pictures in batches in this process, in order."""
    for batch in chunks(jobs, BATCH):
        yield from score_batch(batch, metrics)


def chunks(jobs: Sequence[Job], size: int) -> list[Sequence[Job]]:
    """As many together as `size` says, in order."""
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def score_batch(batch: Sequence[Job], metrics: Mapping[str, Metric]) -> list[Found]:
    """Loads each picture once, then asks each metric for all the pictures that lack it."""
    found = [Found(job.place) for job in batch]
    pictures: dict[int, Tensor] = {}
    for index, job in enumerate(batch):
        try:
            picture = job.picture.rgb.load()
            found[index].coverage = coverage_of(job.picture.rgb) if job.covered else None
        except UserError as error:
            found[index].failures = dict.fromkeys(job.metrics, str(error))
            continue
        if job.keep:
            keep_view(job.keep, picture)
        try:
            pictures[index] = expect_texture(picture)
        except UserError as error:
            found[index].failures = dict.fromkeys(job.metrics, str(error))
    for name in dict.fromkeys(name for job in batch for name in job.metrics):
        asked: list[tuple[Found, Tensor, Companion]] = []
        for index, picture in pictures.items():
            if name in batch[index].metrics:
                try:
                    companion = _load_companion(batch[index].picture, metrics[name].needs)
                except UserError as error:
                    found[index].failures[name] = str(error)
                else:
                    asked.append((found[index], picture, companion))
        if asked:
            _ask(metrics[name], asked)
    return found


def _ask(metric: Metric, asked: Sequence[tuple[Found, Tensor, Companion]]) -> None:
    """Enters a metric's values of all pictures; one by one where it refuses some picture among them."""
    try:
        values = metric([picture for _, picture, _ in asked], [companion for *_, companion in asked])
    except UserError as error:
        if len(asked) > 1:
            for one in asked:
                _ask(metric, [one])
        else:
            asked[0][0].failures[metric.name] = str(error)
        return
    for (found, _, _), value in zip(asked, values, strict=True):
        found.values[metric.name] = float(value)


def _load_companion(picture: Picture, needs: Needs) -> Companion:
    companion = companion_of(picture, needs)
    if needs == "nothing" or companion is None:
        return None
    return companion if isinstance(companion, str) else companion.load()
