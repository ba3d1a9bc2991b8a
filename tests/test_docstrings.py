"""Whoever reads a signature of the recipe's rooms finds what it does, and the shapes that it takes."""

import re

import pytest

from tests.house import Public, is_in, modules, public

ROOMS = ("worldgen.geometry", "worldgen.models", "worldgen.splat", "worldgen.recipe")
INHERITED = frozenset({"load", "release", "parts"})  # of adapters: worldgen/models/protocols.py says what they do


SHAPE = re.compile(r"\[(?!-?[01](\.0)?, [01]\])")
"""As in [B, 3, H, W] or means[:, 0]; not the range [0, 1]."""


def of(room: str) -> list[Public]:
    return [each for name in modules() if is_in(name, room) for each in public(name, INHERITED)]


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_says_what_it_does(room):
    assert [each.place for each in of(room) if not each.docstring] == []


@pytest.mark.parametrize("room", ROOMS)
def test_functions_of_arrays_name_shapes(room):
    """Those that lack a docstring altogether are the other test's."""
    shapeless = [each for each in of(room) if each.arrays and each.docstring and not SHAPE.search(each.docstring)]
    assert [each.place for each in shapeless] == []
