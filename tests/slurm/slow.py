"""Networks that take their time, so that there is some to interrupt them in."""

import time
from collections.abc import Sequence

from torch import Tensor

from tests.fakes import SmoothInpainter
from worldgen.types import Prompt


class SlowInpainter(SmoothInpainter):
    """seconds: of each call; no part of what is made."""

    def __init__(self, seconds: float = 1.0, **settings: object) -> None:
        super().__init__(**settings)
        self._seconds = seconds

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        time.sleep(self._seconds)
        return super().__call__(rgb, known, prompts, seeds)
