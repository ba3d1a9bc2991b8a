"""Step 5 by a network that sees the whole panorama at once: its distances, in metres, at the panorama's own size."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldgen.errors import expect
from worldgen.models.panorama_networks import PanoramaNetwork
from worldgen.models.protocols import Composite, Lifetime, PanoramaDepth
from worldgen.progress import Track, untracked
from worldgen.recipe.depth import at_panoramas_size, ground_height, raise_to_ground
from worldgen.types import DistanceMap, Panorama, Prompts


@dataclass(frozen=True)
class NativeDepth(Composite, PanoramaDepth):
    """Fulfils PanoramaDepth.

    camera_height_m: how far the ground lies below, on average, where the network gives the shape alone. min_ground_m:
    the ground lies at least this far below (paper). sky_m: radius of the sky's shell, or of what is farther.
    """

    network: PanoramaNetwork
    camera_height_m: float = 1.6
    min_ground_m: float = 1.5
    sky_m: float = 100.0

    def __post_init__(self) -> None:
        for name in ("camera_height_m", "min_ground_m", "sky_m"):
            value = getattr(self, name)
            expect(f"depth.{name}", value, value > 0, "more than 0")

    def parts(self) -> Sequence[Lifetime]:
        """The network."""
        return (self.network,)

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked) -> DistanceMap:
        """What the network calls invalid is the sky. Raises UserError where it sees no ground to scale by."""
        del prompts
        (found,) = [self.network(panorama.rgb) for _ in track([0], 1, "depth of the panorama")]
        distance, valid = found
        below = ground_height(distance)
        expect("depth.network", "no valid distance below the horizon", bool(valid.any()) and below > 0, "some ground")
        if not self.network.metric:
            distance = distance * (self.camera_height_m / below)
        distance = raise_to_ground(distance, self.min_ground_m)
        return at_panoramas_size(distance, panorama.rgb.shape[1], self.sky_m)
