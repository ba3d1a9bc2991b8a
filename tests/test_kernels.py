"""Kernels round alike whether a process has compiled them or read them from numba's cache."""

import importlib
from collections.abc import Iterator

import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from tests.conftest import TOGETHER
from tests.house import ROOT

SOURCES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for package in ("worldgen", "train", "eval")
    for path in (ROOT / package).rglob("*.py")
    if "njit" in path.read_text(encoding="utf-8")
)


def helpers(module: str) -> Iterator[tuple[str, dict]]:
    """Its functions that no cache keeps, as kernels call them, with their options."""
    for name, value in vars(importlib.import_module(module)).items():
        ours = isinstance(value, Dispatcher) and value.py_func.__module__ == module
        if ours and isinstance(value._cache, NullCache):
            yield name, value.targetoptions


def test_kernels_are_found():
    assert len(SOURCES) > 10


@pytest.mark.parametrize("module", SOURCES)
def test_helpers_whose_rounding_is_the_compilers_are_inlined(module):
    wrong = [
        name
        for name, options in helpers(module)
        if options.get("fastmath") and not options.get("forceinline") and options.get("inline") != "always"
    ]
    assert wrong == []


def test_files_that_share_kernels_are_there():
    assert [name for names in TOGETHER.values() for name in names if not (ROOT / "tests" / name).is_file()] == []
