"""For every test: no model hub, no telemetry, no clock, and the same random numbers whatever ran before it."""

import os
import random
from collections.abc import Callable, Iterator

import numba
import numpy as np
import pytest
import torch
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# A busy machine is no failure; what is drawn is the same every time. Look further: --hypothesis-profile=default
settings.register_profile("worldgen", deadline=None, derandomize=True)
settings.load_profile("worldgen")


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


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads numba's kernels run on; afterwards they are as many as before."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)
