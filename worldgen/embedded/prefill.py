"""What fills the unknown while a small network fills a panorama from one photo.

MI-GAN closes gaps well and invents clutter where it has to continue a picture into nothing. So it gets gaps only: the
photo goes on round the horizon in mirrored and shifted copies, or, where it shows things that come once, in open land
or a room's colours; what lies overhead and underfoot is plain, its colour a smooth continuation, with fine grain, but
for forests, which go on up; and what is between them is left to the network. A network that knows the world needs none
of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldgen.embedded.photo_sky import PhotoSky
from worldgen.embedded.plain_ring import plain_ring
from worldgen.embedded.quilting import Ring, quilt_ring
from worldgen.embedded.rising import overhead
from worldgen.embedded.singular import strangeness
from worldgen.embedded.texture import colour_field, grain, lit_from_above, plane_texture, spread_texture
from worldgen.errors import expect
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams, degrees_to_seam
from worldgen.models.protocols import Prefilled
from worldgen.types import View

_SKY, _GROUND = 1000, 1001  # names of pieces, beside the copies of the photo
_POLE_GAPS = 4  # gaps between copies and the poles are wider by this
_STRANGE = 0.14  # from which on a photo's things come once: nine of ten crops of panoramas have less
_DOUBTFUL = 0.02  # so near to it streets and forests went either way
_HIGHEST, _SKY_SHARE = 12, 0.1  # sky is so much of the uppermost twelfth of a photo: of skylines 0.2 and more, else 0
_SHRINK = 1.5  # texture is shown smaller than it is by this, or it would be as blurred as what is far away
_FARTHEST_GRAIN = 0.2  # sine of latitude; what is farther away is too fine to be seen
_GROUND_CONTRAST, _FLOOR_CONTRAST = 0.03, 0.012  # standard deviation that the grain may have, outdoors and in rooms


@dataclass(frozen=True)
class QuiltedPrefill:
    """Fulfils `worldgen.models.protocols.Prefill`. gap_deg: how wide the gaps are that the inpainter closes; sky: says
    where a photo [3, H, W] shows sky, bool [H, W]; None: overhead never becomes sky."""

    gap_deg: float = 2.5
    sky: Callable[[Tensor], Tensor] | None = field(default_factory=PhotoSky)

    def __post_init__(self) -> None:
        expect("panorama.prefill.gap_deg", self.gap_deg, 0.5 <= self.gap_deg <= 30, "0.5 to 30")

    def __call__(self, photo: View, rgb: Tensor, own: Tensor, indoor: bool, seed: int) -> Prefilled:
        """Continues the photo, which lies on a panorama [3, H, W] where `own`, bool [H, W]; known outside gaps."""
        height, width = own.shape
        strange = strangeness(photo.rgb)
        once = strange > _STRANGE
        half = height // 2
        # What is made of the sides' colours would tell nothing of sky and ground; copies tell as much as the photo.
        ring = Ring(rgb * own, torch.where(own, 0, -1)) if once else quilt_ring(rgb, own)
        telling = ring.copy >= 0
        is_sky = not indoor and self._ends_in_sky(photo)
        plain = colour_field(ring.rgb, telling, down=False, is_sky=is_sky)
        if not indoor and not is_sky:
            plain = lit_from_above(plain, ring.rgb, telling)
        ground = _ground(photo, ring.rgb, telling, indoor, seed + 1)
        if once:
            ring = plain_ring(rgb, own, None if indoor else torch.cat([plain[:, :half], ground], 1))
        known = ring.copy >= 0
        sides = ~own.any(0) if once and indoor else torch.zeros(width, dtype=torch.bool)
        above = overhead(ring.rgb, known, sides, plain, is_sky, indoor, seed)
        filled = torch.where(known, ring.rgb, torch.cat([above.rgb, ground], 1))
        pole = torch.cat([torch.full((half, width), _SKY), torch.full((height - half, width), _GROUND)])
        piece = torch.where(known, ring.copy, pole)
        known = own | ~_gaps(piece, 1 if once else _POLE_GAPS, above.standing, self.gap_deg)
        return Prefilled(close_seams(filled, piece), known, _guesses(strange, indoor, is_sky))

    def _ends_in_sky(self, photo: View) -> bool:
        """Whether sky is what the photo shows highest up, or some of it."""
        if self.sky is None:
            return False
        highest = self.sky(photo.rgb)[: max(1, photo.camera.height // _HIGHEST)]
        return float(highest.float().mean()) > _SKY_SHARE


def _guesses(strange: float, indoor: bool, is_sky: bool) -> dict[str, str]:
    surely = "doubtful" if abs(strange - _STRANGE) < _DOUBTFUL else "clear"
    once = "its sides' colours" if indoor else "open land"
    goes_on = f"{once}, for what it shows comes once" if strange > _STRANGE else "copies of it"
    overhead = "sky, for some is seen" if is_sky else "ceiling, plain" if indoor else "plain, for no sky is seen"
    return {"beside_the_photo": f"{goes_on} ({strange:.3f}, {_STRANGE} divides; {surely})", "overhead": overhead}


def _gaps(piece: Tensor, wider: int, standing: Tensor, gap_deg: float) -> Tensor:
    """bool [H, W]: what is left to the network, round the photo, between its copies and towards the poles.

    wider: how many times as wide the last are, for roofs and things on the ground to end there; not where something is
    `standing` [W].
    """
    gap = degrees_to_seam(piece) < gap_deg / 2
    gap |= degrees_to_seam(piece == 0) < gap_deg
    gap |= degrees_to_seam(piece == _GROUND) < wider * gap_deg / 2
    return gap | (degrees_to_seam(piece == _SKY) < (wider - (wider - 1) * standing) * gap_deg / 2)


def _ground(photo: View, rgb: Tensor, known: Tensor, indoor: bool, seed: int) -> Tensor:
    """The lower half of a panorama, [3, H / 2, W]."""
    height, width = known.shape
    below = slice(height // 2, None)
    plain = colour_field(rgb, known, down=True, is_sky=False)
    density = 0.5 * width / (2 * math.pi)
    texture = plane_texture(photo, plain, density)
    if texture is None:
        return plain[:, below]
    texture = grain(texture, seed, _FLOOR_CONTRAST if indoor else _GROUND_CONTRAST)
    x, y, z = directions(height, width)[below].unbind(-1)
    plane = _SHRINK * density / y.clamp(min=_FARTHEST_GRAIN)
    seen = smoothstep(y / _FARTHEST_GRAIN)
    return plain[:, below] + seen * spread_texture(texture, x * plane, z * plane, seed)
