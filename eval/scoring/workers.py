"""Scoring in several processes: begun only where that saves time, and never to the cost of the first one's work."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numba
import torch

from eval.metrics.base import Metric
from eval.scoring.jobs import Found, Job, chunks, score_batch
from worldgen.errors import UserError

_START_S = 8.0  # what a process takes to import torch and numba and to get its first job, on a machine that has to do
_SURELY = 2.0  # how many times what a process costs has to be left to do
_GROUP = 8  # views of one result that go to the same process, which then opens its file once

_metrics_here: dict[str, Metric] = {}  # of a process that only scores: its metrics, whose weights it loads once


def in_processes(jobs: Sequence[Job], metrics: Mapping[str, Metric], processes: int) -> Iterator[Found]:
    """Scores each picture on one thread: in this process, and in others too, `processes` in all, once these save time.
    In any order.

    Raises UserError where a process dies.
    """
    left, pace = deque(jobs), _Pace()
    with _one_thread():
        while left and not pace.worth_processes(len(left), processes):
            began = time.monotonic()
            found = score_batch([left.popleft()], metrics)
            pace.add(time.monotonic() - began)
            yield from found
        if left:
            yield from _with_others(list(left), metrics, processes - 1)


@dataclass
class _Pace:
    """How long pictures take. The first one does not count: it waits for imports, weights and compiled kernels, as the
    first one of every process does."""

    first_s: float = 0.0
    others_s: float = 0.0
    done: int = 0

    def add(self, seconds: float) -> None:
        """Takes note of one more picture."""
        self.done += 1
        if self.done == 1:
            self.first_s = seconds
        else:
            self.others_s += seconds

    def worth_processes(self, left: int, processes: int) -> bool:
        """Whether so many pictures are a job for more than one process."""
        if processes < 2 or self.done < 2:
            return False
        picture_s = self.others_s / (self.done - 1)
        start_s = _START_S + max(0.0, self.first_s - picture_s)
        return picture_s * left > _SURELY * start_s


def _with_others(jobs: Sequence[Job], metrics: Mapping[str, Metric], others: int) -> Iterator[Found]:
    """Scores the jobs in `others` processes and, while these begin and after, in this one. In any order."""
    groups = deque(_groups(jobs))
    asked = {name: metrics[name] for name in dict.fromkeys(name for job in jobs for name in job.metrics)}
    # Spawned, not forked: threads of torch and numba do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(others, len(groups)), context, _begin_process, (asked,))
    given: set[Future[list[Found]]] = set()
    mine: deque[Job] = deque()
    try:
        while groups or given or mine:
            while groups and len(given) < 2 * others:  # one that is scored, and one that waits, for each process
                given.add(pool.submit(_score_group, groups.popleft()))
            if groups and not mine:
                mine.extend(groups.pop())
            if mine:
                yield from score_batch([mine.popleft()], metrics)
            else:
                wait(given, return_when=FIRST_COMPLETED)
            for future in [future for future in given if future.done()]:
                given.remove(future)
                yield from future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "scoring: one of the processes ended before its time, which a lack of memory does; what reached the cache "
            f"stays there, wanted fewer processes than {others + 1}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """Neighbours that show one result, at most _GROUP together."""
    results = groupby(jobs, key=lambda job: (job.picture.method, job.picture.image))
    return [group for _, same in results for group in chunks(list(same), _GROUP)]


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
    return [found for job in group for found in score_batch([job], _metrics_here)]


def _end_with_parent() -> None:
    """Otherwise a process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
