"""Pictures and metrics that cost nothing, for tests of what surrounds them; other processes import them by name."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from eval.metrics.base import Companion
from eval.protocols.pictures import Picture
from worldgen.errors import UserError


@dataclass(frozen=True)
class Grey:
    """A picture of one grey level but for a pattern, without which it would show nothing; or a broken file."""

    level: float
    broken: bool = False

    def load(self) -> Tensor:
        if self.broken:
            raise UserError(f"{self.level}.png: broken")
        columns = torch.arange(4) % 2 * 2 - 1
        return self.level + (columns / 512).expand(3, 4, 4)

    def identity(self) -> str:
        return f"grey {self.level}"


@dataclass(frozen=True)
class Covered(Grey):
    """A render that shows something in a share of its pixels, as much as it is bright; it writes down each look."""

    seen_in: Path | None = None

    def coverage(self) -> float:
        with self.seen_in.open("a") as file:
            file.write(f"{self.level}\n")
        return self.level


@dataclass
class Level:
    """Scores a picture by its grey level times `factor`, and writes a line per picture to `log`."""

    log: Path | None = None
    name: str = "level"
    better: str = "lower"
    needs: str = "nothing"
    across_processes: bool = True
    factor: float = 1.0
    why_not: str | None = None
    refuses: float | None = None
    version: str = "1"
    kills: float | None = None

    def unavailable(self) -> str | None:
        return self.why_not

    def versions(self) -> dict[str, str]:
        return {"level": self.version}

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        levels = [float(picture.mean()) for picture in pictures]
        if any(level == self.kills for level in levels):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(level == self.refuses for level in levels):
            raise UserError(f"{self.name}: refuses {self.refuses:g}")
        if self.log:
            with self.log.open("a") as file:
                file.writelines(f"{self.name} {os.getpid()} {torch.get_num_threads()} {level}\n" for level in levels)
        return [self.factor * level + _worth(other) for level, other in zip(levels, companions, strict=True)]


def _worth(companion: Companion) -> float:
    if companion is None:
        return 0.0
    return float(len(companion)) if isinstance(companion, str) else 100 * float(companion.mean())


def greys(count: int, method: str = "ours") -> list[Picture]:
    """Pictures of the levels 0, 1/256, 2/256 ..., which float32 holds exactly."""
    return [Picture(method, f"photo{i}", "front", Grey(i / 256)) for i in range(count)]
