"""Panoramas for made-up scenes, without any download."""

from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from eval.synthetic import procedural_scenes
from tests.outdoors import meadow
from worldgen.config import choice


@lru_cache(maxsize=1)
def _picture() -> Tensor:
    return meadow(128)[0].rgb


def stand_in_panoramas(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Meadows of these names, and of those that the configs ask for, take the real panoramas' place."""
    configs = [choice("data", name).scenes.panoramas for name in ("procedural", "procedural_test")]
    asked = [*names, *configs[0], *configs[1]]

    def pictures() -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(asked):
            hue = torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(number))
            yield name, (0.6 * _picture().roll(40 * number, dims=2) + 0.4 * hue)

    monkeypatch.setattr(procedural_scenes, "truth_panoramas", pictures)
    for cached in (procedural_scenes._panoramas, procedural_scenes.world_of, procedural_scenes._rendered):
        cached.cache_clear()
