"""Which of two estimators measures a panorama: small networks know rooms, and rules do better in the open air."""

from collections.abc import Sequence

from worldgen.models.protocols import Composite, Lifetime, PanoramaDepth
from worldgen.progress import Track, untracked
from worldgen.types import DistanceMap, Panorama, Prompts


class AutoDepth(Composite):
    """Fulfils PanoramaDepth: one estimator for rooms and one for the open air, chosen by `prompts.indoor`."""

    def __init__(self, indoor: PanoramaDepth, outdoor: PanoramaDepth) -> None:
        self.indoor, self.outdoor = indoor, outdoor

    def parts(self) -> Sequence[Lifetime]:
        """Both: which one is asked shows only when the prompts are there."""
        return self.indoor, self.outdoor

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """The distances that the estimator for such a place gives."""
        return (self.indoor if prompts.indoor else self.outdoor)(panorama, prompts, track)
