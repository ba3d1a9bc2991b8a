"""Networks that take their time, so that there is some to interrupt them in."""

import time
from collections.abc import Sequence

from torch import Tensor

from tests.fakes import SmoothInpainter
from worldgen.types import Prompt


class SlowInpainter(SmoothInpainter):
    """Sleeps through a part of each call."""

    seconds = 1.0

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        time.sleep(self.seconds)
        return super().__call__(rgb, known, prompts, seeds)


class SlowerInpainter(SlowInpainter):
    """Through twenty seconds."""

    seconds = 20.0


class EndlessInpainter(SlowInpainter):
    """Through more than any job here has."""

    seconds = 600.0
