"""The pictures that are scored: where each comes from, and what it may be compared with.

A picture is named and described here, and loaded only where it is scored, maybe in another process.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Source(Protocol):
    """Where a picture's pixels come from. Picklable. A render may also have `coverage() -> float`, see below."""

    def load(self) -> Tensor:
        """[3, H, W] in [0, 1]. Raises UserError where the file is broken, naming it."""

    def identity(self) -> str:
        """Equal for equal pixels: the file's sha256, what reads and renders it in which version, and the view. For the
        cache's keys."""


def coverage_of(source: Source) -> float | None:
    """The share of a picture's pixels that show something, where it is a render that may show nothing."""
    coverage = getattr(source, "coverage", None)
    return None if coverage is None else coverage()


@dataclass(frozen=True, eq=False)
class Picture:
    """One row of a table's raw material.

    method: who made it; image: the input photo or scene, the same name for every method; view: which look at the
    result. truth: the true picture of the same view; photo: the input photo; text: the prompt;
    lens: the photo's "fov_deg aspect" where a run of ours knows it, "" for other people's output.
    """

    method: str
    image: str
    view: str
    rgb: Source
    truth: Source | None = None
    photo: Source | None = None
    text: str | None = None
    lens: str | None = ""
