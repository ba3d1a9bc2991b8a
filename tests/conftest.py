"""For every test: no model hub, no telemetry, no clock, and the same random numbers whatever ran before it."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import numba
import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import composing
from tests.tiny_checkpoints import checkpoints, inpainter, refiner  # noqa: F401 fixtures

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# A busy machine is no failure; what is drawn is the same every time. Look further: --hypothesis-profile=default
settings.register_profile("worldgen", deadline=None, derandomize=True)
settings.load_profile("worldgen")


# Files that ask for the same kernels, first thing in a fresh checkout: two workers would compile them at the same time.
TOGETHER = {
    "rasteriser": ("test_rasterize.py", "test_posed.py", "test_gaussians.py", "test_optimizer.py"),
    "points": ("test_points.py", "test_conformance.py", "test_equirect.py", "test_panorama.py", "test_pairs.py"),
}

# Few tests that take long: as others, by their number, they would begin last, with one worker idle beside them.
EARLY = ("test_oracle.py", "test_yaml_defaults.py", "test_visits.py", "test_adapter_types.py", "test_paper_scale.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """--dist loadfile, but for `TOGETHER`, each of whose lines one worker runs, and `EARLY`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByKernels(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((name for name, files in TOGETHER.items() if PurePosixPath(file).name in files), file)

        def schedule(self) -> None:
            super().schedule()  # every worker has its first files now
            for scope in [scope for scope in self.workqueue if PurePosixPath(scope).name in EARLY]:
                self.workqueue.move_to_end(scope, last=False)

    return ByKernels(config, log)


@pytest.hookimpl(tryfirst=True)  # before fixtures, of modules too
def pytest_runtest_setup(item):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 the libraries under test draw from the global generator
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """pytest-xdist sends reports as UTF-8, and stops over file names that are none, in what a test printed."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def one_thread_each() -> None:
    """Workers share the cores, so each, and each process that it starts, computes on one thread: a sixth less time."""
    numba.set_num_threads(1)  # first: numba's start gives torch as many as its own
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads numba's kernels run on; afterwards they are as many as before."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """What Hydra composes of conf/ is kept."""
    with pytest.MonkeyPatch.context() as patch:
        composing.remember(patch)
        yield
