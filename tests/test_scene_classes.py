"""The division of ImageNet's classes: each at most once, by names that they have."""

from collections import Counter

import pytest
import timm.data

from worldgen.embedded.scene_classes import NOWHERE, SCENE_CLASSES

COUNT = 1000  # ImageNet's classes


def test_no_class_is_in_two_places():
    numbers = Counter(one.number for one in SCENE_CLASSES)
    assert numbers.most_common(1)[0][1] == 1
    assert all(0 <= number < COUNT for number in numbers)


def test_names_are_imagenets():
    known = timm.data.ImageNetInfo()
    assert known.num_classes() == COUNT
    wrong = [
        one
        for one in SCENE_CLASSES
        if one.name != "wild animal" and one.name not in known.index_to_description(one.number).split(", ")
    ]
    assert wrong == []


def test_wild_animals_are_animals_and_no_pets():
    known = timm.data.ImageNetInfo()
    wild = [known.index_to_description(one.number) for one in SCENE_CLASSES if one.name == "wild animal"]
    for name in ("timber wolf", "lion", "African elephant", "robin", "monarch", "brown bear", "tench"):
        assert any(name in description for description in wild), name
    pets = (
        "goldfish",
        "macaw",
        "tabby",
        "Persian cat",
        "hamster",
        "beagle",
        "Chihuahua",
        "cockroach",
        "jellyfish",
        "lobster",
    )
    for name in pets:
        assert not any(name in description for description in wild), name


def test_a_place_is_inside_or_outside():
    places = {
        indoor: {one.place for one in SCENE_CLASSES if one.indoor == indoor} - {NOWHERE} for indoor in (True, False)
    }
    assert not places[True] & places[False]


@pytest.mark.parametrize(
    ("name", "place", "indoor"),
    [
        ("stove", "kitchen", True),
        ("altar", "church interior", True),
        ("alp", "mountains", False),
        ("pier", "harbour", False),
    ],
)
def test_some_of_each(name, place, indoor):
    (found,) = (one for one in SCENE_CLASSES if one.name == name)
    assert (found.place, found.indoor) == (place, indoor)
