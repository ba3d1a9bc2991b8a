"""Scores pictures by metrics: in parallel, from the cache where they were scored before, whatever fails set apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.metrics.base import Metric
from eval.protocols.file_names import shown
from eval.protocols.pictures import Picture
from eval.scoring.cache import Entry, ScoreCache
from eval.scoring.jobs import Found, Job, companion_of, in_batches
from eval.scoring.kept_views import view_path
from eval.scoring.scores import Score
from eval.scoring.workers import in_processes
from worldgen.errors import UserError
from worldgen.progress import Track, untracked

COVERAGE = "coverage"
_COVERAGE_VERSION = "1"


@dataclass(frozen=True)
class Scored:
    """rows: by picture, then by metric, in the order given. failed: "method/image/view" to why, where a picture or one
    of its metrics has no score. unavailable: metric to why it cannot be computed here. coverage: of renders, by
    (method, image, view), the share of pixels that are not background."""

    rows: list[Score]
    failed: dict[str, str]
    unavailable: dict[str, str]
    coverage: dict[tuple[str, str, str], float] = field(default_factory=dict)


def score(
    pictures: Sequence[Picture],
    metrics: Sequence[Metric],
    cache: ScoreCache | None,
    processes: int,
    track: Track = untracked,
    views_folder: Path | None = None,
) -> Scored:
    """Every picture by every metric that can be had and has what it needs: the truth, the photo or a text.

    The metrics that ask for it run in `processes` processes on one thread each, the others in batches in this one. The
    rows do not depend on the number of processes. The cache keeps each score as soon as it is known: after a kill, the
    next call goes on from there. views_folder: where each picture is kept as a PNG. Raises UserError where a process
    dies.
    """
    unavailable = {metric.name: why for metric in metrics if (why := metric.unavailable())}
    sheet = _Sheet(pictures, [metric for metric in metrics if metric.name not in unavailable], cache, views_folder)
    sheet.look_up(track)
    by_name = {metric.name: metric for metric in metrics}
    if jobs := sheet.missing(across_processes=True):
        for found in track(in_processes(jobs, by_name, processes), len(jobs), "scoring pictures"):
            sheet.enter(found)
    if jobs := sheet.missing(across_processes=False):
        for found in track(in_batches(jobs, by_name), len(jobs), "scoring pictures by networks"):
            sheet.enter(found)
    return Scored(sheet.rows(), sheet.failed(), unavailable, sheet.coverage())


class _Sheet:
    """The table while it is filled. Its cells are named by a picture's place in the list and a metric's name."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        metrics: Sequence[Metric],
        cache: ScoreCache | None,
        views_folder: Path | None,
    ) -> None:
        self._pictures, self._metrics, self._cache, self._views_folder = pictures, metrics, cache, views_folder
        self._entries: dict[tuple[int, str], Entry] = {}
        self._values: dict[tuple[int, str], float] = {}
        self._failures: dict[tuple[int, str], str] = {}
        self._renders = {place for place, picture in enumerate(pictures) if hasattr(picture.rgb, "coverage")}

    def look_up(self, track: Track) -> None:
        """Fills in what the cache knows."""
        if self._cache is None:
            return
        versions = {metric.name: metric.versions() for metric in self._metrics}
        for place in track(range(len(self._pictures)), len(self._pictures), "looking for known scores"):
            picture = self._pictures[place]
            self._look_up_coverage(place)
            for metric in self._metrics:
                companion = companion_of(picture, metric.needs)
                if companion is None:
                    continue
                try:
                    known_as = companion if isinstance(companion, str) else companion.identity()
                    entry = Entry(picture.rgb.identity(), known_as, metric.name, versions[metric.name])
                except UserError as error:
                    self._failures[place, metric.name] = str(error)
                    continue
                self._entries[place, metric.name] = entry
                if (value := self._cache.get(entry)) is not None:
                    self._values[place, metric.name] = value

    def missing(self, across_processes: bool) -> list[Job]:
        """What is still to be scored, by metrics of the one kind or of the other; of the one, also what is still to be
        looked at or kept."""
        kind = [metric for metric in self._metrics if metric.across_processes == across_processes]
        jobs = [
            Job(
                place,
                picture,
                tuple(metric.name for metric in kind if self._lacks(place, metric)),
                covered=across_processes and place in self._renders and (place, COVERAGE) not in self._values,
                keep=self._kept(picture) if across_processes else None,
            )
            for place, picture in enumerate(self._pictures)
        ]
        return [job for job in jobs if job.metrics or job.covered or job.keep]

    def enter(self, found: Found) -> None:
        """Fills in one picture's scores, and keeps them."""
        values = found.values | ({} if found.coverage is None else {COVERAGE: found.coverage})
        for metric, value in values.items():
            self._values[found.place, metric] = value
            if self._cache is not None and (found.place, metric) in self._entries:
                self._cache.put(self._entries[found.place, metric], value)
        for metric, why in found.failures.items():
            self._failures[found.place, metric] = why

    def coverage(self) -> dict[tuple[str, str, str], float]:
        """Of the renders that could be made."""
        known = sorted(place for place in self._renders if (place, COVERAGE) in self._values)
        renders = {place: self._pictures[place] for place in known}
        return {
            (picture.method, picture.image, picture.view): self._values[place, COVERAGE]
            for place, picture in renders.items()
        }

    def rows(self) -> list[Score]:
        return [
            Score(picture.method, picture.image, picture.view, metric.name, self._values[place, metric.name])
            for place, picture in enumerate(self._pictures)
            for metric in self._metrics
            if (place, metric.name) in self._values
        ]

    def failed(self) -> dict[str, str]:
        """Each picture's reasons, each once."""
        failed = {}
        for place, picture in enumerate(self._pictures):
            whys = [self._failures[place, m.name] for m in self._metrics if (place, m.name) in self._failures]
            if whys:
                failed[f"{picture.method}/{picture.image}/{picture.view}"] = shown("; ".join(dict.fromkeys(whys)))
        return failed

    def _look_up_coverage(self, place: int) -> None:
        if self._cache is None or place not in self._renders:
            return
        try:
            entry = Entry(self._pictures[place].rgb.identity(), "", COVERAGE, {COVERAGE: _COVERAGE_VERSION})
        except UserError:
            return  # which scoring says
        self._entries[place, COVERAGE] = entry
        if (value := self._cache.get(entry)) is not None:
            self._values[place, COVERAGE] = value

    def _kept(self, picture: Picture) -> Path | None:
        if self._views_folder is None:
            return None
        return view_path(self._views_folder, picture.method, picture.image, picture.view)

    def _lacks(self, place: int, metric: Metric) -> bool:
        cell = (place, metric.name)
        needed = companion_of(self._pictures[place], metric.needs)
        return needed is not None and cell not in self._values and cell not in self._failures
