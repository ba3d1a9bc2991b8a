"""How pictures get their scores: one at a time in many processes, or in batches in this one."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

import numba
import torch
from torch import Tensor

from eval.flat import expect_texture
from eval.metrics.base import Companion, Metric, Needs
from eval.pictures import Picture, Source
from worldgen.errors import UserError

BATCH = 8  # pictures that a metric of the main process gets at once
_START_S = 5.0  # how long processes take to begin
_GROUP = 8  # views of one result that go to the same process, which then opens its file once

_metrics_here: dict[str, Metric] = {}  # of a process that only scores: its metrics, whose weights it loads once


@dataclass(frozen=True)
class Job:
    """A picture, by its place in the list, and the names of the metrics that it still lacks."""

    place: int
    picture: Picture
    metrics: tuple[str, ...]


@dataclass
class Found:
    """What became of a job: values by metric, and why the others are missing."""

    place: int
    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def companion_of(picture: Picture, needs: Needs) -> Source | str | None:
    """What a metric compares the picture with, not loaded yet; "" for nothing, None where the picture has none."""
    return {"nothing": "", "truth": picture.truth, "photo": picture.photo, "text": picture.text}[needs]


def in_processes(jobs: Sequence[Job], metrics: Mapping[str, Metric], processes: int) -> Iterator[Found]:
    """Scores each picture on one thread: in this process, and in `processes` others once these save time. In any order.

    Raises UserError where a process dies.
    """
    groups = deque(_groups(jobs))
    began, done = time.monotonic(), 0
    with _one_thread():
        while groups and not _worth_processes(time.monotonic() - began, done, len(jobs) - done, processes):
            for job in groups.popleft():
                yield from _score_batch([job], metrics)
                done += 1
    if groups:
        yield from _in_pool(groups, metrics, processes)


def _worth_processes(seconds: float, done: int, left: int, processes: int) -> bool:
    """Whether the rest, at the pace so far, is a job for more than one process."""
    return processes > 1 and done > 0 and seconds / done * left * (1 - 1 / processes) > _START_S


def _in_pool(groups: Collection[Sequence[Job]], metrics: Mapping[str, Metric], processes: int) -> Iterator[Found]:
    """Scores each group in one of as many processes as asked for. In any order."""
    # Spawned, not forked: threads of torch and numba do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(groups)), context, _begin_process, (metrics,))
    try:
        for scored in as_completed([pool.submit(_score_group, group) for group in groups]):
            yield from scored.result()
    except BrokenProcessPool as error:
        raise UserError(
            "scoring: one of the processes ended before its time, which a lack of memory does; what reached the cache "
            f"stays there, so begin again with fewer processes than {processes}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_batches(jobs: Sequence[Job], metrics: Mapping[str, Metric]) -> Iterator[Found]:
    """Scores pictures in batches in this process, in order."""
    for batch in _chunks(jobs, BATCH):
        yield from _score_batch(batch, metrics)


def _groups(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """Neighbours that show one result, at most _GROUP together."""
    results = groupby(jobs, key=lambda job: (job.picture.method, job.picture.image))
    return [group for _, same in results for group in _chunks(list(same), _GROUP)]


def _chunks(jobs: Sequence[Job], size: int) -> list[Sequence[Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def _score_batch(batch: Sequence[Job], metrics: Mapping[str, Metric]) -> list[Found]:
    """Loads each picture once, then asks each metric for all the pictures that lack it."""
    found = [Found(job.place) for job in batch]
    pictures: dict[int, Tensor] = {}
    for index, job in enumerate(batch):
        try:
            pictures[index] = expect_texture(job.picture.rgb.load())
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same as in the processes, to the last bit."""
    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    numba.set_num_threads(1)  # first: where both share OpenMP, numba's start resets torch's threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)


def _begin_process(metrics: Mapping[str, Metric]) -> None:
    _metrics_here.update(metrics)
    numba.set_num_threads(1)  # first: where both share OpenMP, numba's start resets torch's threads
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the main process's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _score_group(group: Sequence[Job]) -> list[Found]:
    return [found for job in group for found in _score_batch([job], _metrics_here)]


def _end_with_parent() -> None:
    """Otherwise a process whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
