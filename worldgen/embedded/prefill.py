"""What fills the unknown while a small network fills a panorama from one photo.

MI-GAN closes gaps well and invents clutter where it has to continue a picture into nothing. So it gets gaps only: the
photo goes on round the horizon in mirrored and shifted copies, or, where it shows things that come once, in its sides'
colours; what lies overhead and underfoot is plain, its colour a smooth continuation and its grain as coarse as the
photo's ground; and what is between them is left to the network. A network that knows the world needs none of it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.embedded.overhead import shows_sky
from worldgen.embedded.plain_ring import plain_ring
from worldgen.embedded.quilting import quilt_ring
from worldgen.embedded.singular import strangeness
from worldgen.embedded.texture import colour_field, grain, plane_texture, spread_texture
from worldgen.errors import expect
from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams, degrees_to_seam
from worldgen.models.protocols import Prefilled
from worldgen.types import View

_SKY, _GROUND = 1000, 1001  # names of pieces, beside the copies of the photo
_POLE_GAPS = 4  # gaps between copies and the poles are wider by this
_STRANGE = 0.14  # from which on a photo's things come once: nine of ten crops of panoramas have less
_DOUBTFUL = 0.02  # so near to it streets and forests went either way
_SHRINK = 1.5  # texture is shown smaller than it is by this, or it would be as blurred as what is far away
_CALM_CEILING, _GROUND_CONTRAST = 0.006, 0.03  # most (standard deviation) that what is made up may have


@dataclass(frozen=True)
class QuiltedPrefill:
    """Fulfils `worldgen.models.protocols.Prefill`. gap_deg: how wide the gaps are that the inpainter closes."""

    gap_deg: float = 2.5

    def __post_init__(self) -> None:
        expect("panorama.prefill.gap_deg", self.gap_deg, 0.5 <= self.gap_deg <= 30, "0.5 to 30")

    def __call__(self, photo: View, rgb: Tensor, own: Tensor, indoor: bool, seed: int) -> Prefilled:
        """Continues the photo, which lies on a panorama [3, H, W] where `own`, bool [H, W]; known outside gaps."""
        height, width = own.shape
        strange = strangeness(photo.rgb)
        once = strange > _STRANGE
        ring = plain_ring(rgb, own) if once else quilt_ring(rgb, own)
        known = ring.copy >= 0
        half = height // 2
        is_sky = not indoor and shows_sky(ring.rgb, known)
        sky = _pole(photo, ring.rgb, known, down=False, is_sky=is_sky, seed=seed)
        ground = _pole(photo, ring.rgb, known, down=True, is_sky=False, seed=seed + 1)
        filled = torch.where(known, ring.rgb, torch.cat([sky, ground], 1))
        pole = torch.cat([torch.full((half, width), _SKY), torch.full((height - half, width), _GROUND)])
        piece = torch.where(known, ring.copy, pole)
        known = own | ~_gaps(piece, 1 if once else _POLE_GAPS, self.gap_deg)
        return Prefilled(close_seams(filled, piece), known, _guesses(strange, indoor, is_sky))


def _guesses(strange: float, indoor: bool, is_sky: bool) -> dict[str, str]:
    surely = "doubtful" if abs(strange - _STRANGE) < _DOUBTFUL else "clear"
    goes_on = "its sides' colours, for what it shows comes once" if strange > _STRANGE else "copies of it"
    overhead = "sky, for some is seen" if is_sky else "ceiling, plain" if indoor else "plain, for no sky is seen"
    return {"beside_the_photo": f"{goes_on} ({strange:.3f}, {_STRANGE} divides; {surely})", "overhead": overhead}


def _gaps(piece: Tensor, wider: int, gap_deg: float) -> Tensor:
    """bool [H, W]: what is left to the network, round the photo, between its copies and towards the poles.

    wider: how many times as wide the last are, for roofs and things on the ground to end there.
    """
    poles = (piece == _GROUND).int() + 2 * (piece == _SKY).int()
    gap = degrees_to_seam(piece) < gap_deg / 2
    gap |= degrees_to_seam(piece == 0) < gap_deg
    return gap | (degrees_to_seam(poles) < wider * gap_deg / 2)


def _pole(photo: View, rgb: Tensor, known: Tensor, down: bool, is_sky: bool, seed: int) -> Tensor:
    """The upper or lower half of a panorama, [3, H / 2, W]."""
    height, width = known.shape
    rows = slice(height // 2, None) if down else slice(0, height // 2)
    field = colour_field(rgb, known, down, is_sky)
    density = 0.5 * width / (2 * math.pi)
    texture = None if is_sky else plane_texture(photo, field, down, density)  # a photo's sky is no plane
    if texture is None:
        return field[:, rows]
    texture = grain(texture, seed, _GROUND_CONTRAST if down else _CALM_CEILING)
    x, y, z = directions(height, width)[rows].unbind(-1)
    plane = _SHRINK * density / y.abs().clamp(min=0.2)
    return field[:, rows] + spread_texture(texture, x * plane, z * plane, seed)
