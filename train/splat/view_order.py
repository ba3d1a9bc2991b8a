"""Which view a step looks at, and how often it is halved then."""

import math
from collections.abc import Sequence

import numpy as np


def coarse_level(step: int, steps: int, levels: int, until: float) -> int:
    """How often the views of a step, of `steps` from 0, are halved: `levels` times at first, then once less after each
    equal part of the share `until` of the steps, and not at all beyond it."""
    beyond = step >= until * steps
    return 0 if beyond else levels - int(levels * step / (until * steps))


def view_order(generated: Sequence[bool], steps: int, seed: int) -> list[int]:
    """Which view each step looks at: rounds in random order, every view of a kind as often as any other.

    A round holds each generated view once, and each panorama view so often that they are at least half of it: the
    panorama is what the world must look like, and only it is supervised in full.
    """
    made, panorama = (np.flatnonzero(np.array(generated) == kind) for kind in (True, False))
    repeats = max(1, math.ceil(len(made) / len(panorama))) if len(panorama) else 0
    whole_round = np.concatenate([made, np.repeat(panorama, repeats)])
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(whole_round) for _ in range(math.ceil(steps / len(whole_round)))]
    return np.concatenate([*rounds, whole_round[:0]])[:steps].tolist()
