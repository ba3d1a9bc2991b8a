"""Step 4: a text-to-image model repaints the panorama's detail (paper, "Refinement"). The embedded profile has none."""

from worldgen.models.protocols import Adapter
from worldgen.progress import Track, untracked
from worldgen.types import Panorama, Prompts


class NoRefiner(Adapter):
    """Leaves the panorama as it is."""

    def __call__(self, panorama: Panorama, prompts: Prompts, track: Track = untracked, seed: int = 0) -> None:
        """None: skipped."""
