"""What a metric is: one column of a table, whatever computes it.

Pictures are [3, H, W] in [0, 1], from tensors or lossless files: JPEG moves NIQE by a point.
"""

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

from torch import Tensor
from typing_extensions import TypeIs

Better = Literal["lower", "higher"]
Needs = Literal["nothing", "truth", "photo", "text", "lens"]
Companion = Tensor | str | None


class Metric(Protocol):
    """A score of single pictures.

    name: its column in scores.csv. needs: what it compares a picture with: the true picture of the same view, the
    photo that the world was made from, a text, or the photo's lens ("fov_deg aspect"; "" = as the metric's settings
    have it). across_processes: it is quickest when many processes score one picture each on one thread; otherwise it
    gets batches in the main process, and may use a GPU.
    """

    name: str
    better: Better
    needs: Needs
    across_processes: bool

    def unavailable(self) -> str | None:
        """Why it cannot be computed here, in one line; None where it can."""

    def versions(self) -> dict[str, str]:
        """The packages and weights (by sha256) that decide its values: for footers, and for the cache's keys."""

    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        """One value for each picture; the companions are what it `needs`, or None."""


class SetMetric(Protocol):
    """A distance between two sets of pictures, such as FID. network: equal where the features are, too."""

    name: str
    better: Better
    network: Hashable

    def unavailable(self) -> str | None:
        """As a Metric's."""

    def versions(self) -> dict[str, str]:
        """As a Metric's."""

    def features(self, pictures: Sequence[Tensor]) -> Tensor:
        """[N, D], float64."""

    def distance(self, ours: Tensor, truth: Tensor) -> float:
        """Between two sets of features, [N, D] and [M, D]."""


def is_set_metric(metric: Metric | SetMetric) -> TypeIs[SetMetric]:
    """Whether it compares whole sets; otherwise it is a Metric."""
    return hasattr(metric, "features")
