"""A hook of the panorama: what each view invents gets nearer to the photo's colour and texture (off by default)."""

from dataclasses import dataclass

from torch import Tensor

from worldgen.errors import expect
from worldgen.geometry.style_statistics import match_statistics


@dataclass(frozen=True)
class StatisticsMatch:
    """Fulfils `worldgen.models.protocols.StyleMatch`.

    colour, texture: 0 = as it was painted, 1 = all that the clamps allow. most_gain: of contrast, saturation and the
    energy of each band of detail, up or down.
    """

    colour: float = 0.5
    texture: float = 1.0
    most_gain: float = 1.5

    def __post_init__(self) -> None:
        for name in ("colour", "texture"):
            value = getattr(self, name)
            expect(f"panorama.style_match.{name}", value, 0 <= value <= 1, "0 to 1")
        expect("panorama.style_match.most_gain", self.most_gain, 1 <= self.most_gain <= 4, "1 to 4")

    def __call__(self, painted: Tensor, invented: Tensor, photo: Tensor, own: Tensor) -> Tensor:
        """painted, photo [3, h, w] in [0, 1] -> painted, changed only where `invented`, bool [h, w], is True; own, bool
        [h, w]: where `photo` shows the photo."""
        return match_statistics(painted, invented, photo, own, self.colour, self.texture, self.most_gain)
