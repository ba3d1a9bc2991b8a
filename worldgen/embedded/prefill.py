"""What fills the unknown while a small network fills a panorama from one photo.

MI-GAN closes gaps well and invents clutter where it has to continue a picture into nothing. So it gets gaps only: the
photo goes on round the horizon in mirrored and shifted copies, a smooth sky and ground with the photo's own texture
lie over the poles, and what is between them is left to the network. A network that knows the world needs none of it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldgen.embedded.overhead import grow_upwards, shows_sky
from worldgen.embedded.quilting import quilt_ring
from worldgen.embedded.texture import colour_field, plane_texture, spread_texture
from worldgen.errors import expect
from worldgen.geometry.blending import smoothstep
from worldgen.geometry.equirect import directions
from worldgen.geometry.seams import close_seams, degrees_to_seam
from worldgen.types import View

_SKY, _GROUND = 1000, 1001  # names of pieces, beside the copies of the photo
_POLE_GAPS = 4  # gaps towards the poles are wider by this: roofs and things on the ground have to end there
_FADED_DEG = 25.0  # from the zenith
_SHRINK = 1.5  # texture is shown smaller than it is by this, or it would be as blurred as what is far away
_CALM_CEILING = 0.02  # most contrast (standard deviation) that a made-up ceiling may have


@dataclass(frozen=True)
class QuiltedPrefill:
    """Fulfils `worldgen.models.protocols.Prefill`. gap_deg: how wide the gaps are that the inpainter closes."""

    gap_deg: float = 2.5

    def __post_init__(self) -> None:
        expect("panorama.prefill.gap_deg", self.gap_deg, 0.5 <= self.gap_deg <= 30, "0.5 to 30")

    def __call__(self, photo: View, rgb: Tensor, own: Tensor, indoor: bool, seed: int) -> tuple[Tensor, Tensor]:
        """Continues the photo, which lies on a panorama [3, H, W] where `own`, bool [H, W]: rgb, known outside gaps."""
        height, width = own.shape
        ring = quilt_ring(rgb, own)
        known = ring.copy >= 0
        half = height // 2
        sky = _pole(photo, ring.rgb, known, down=False, is_sky=not indoor, seed=seed)
        ground = _pole(photo, ring.rgb, known, down=True, is_sky=False, seed=seed + 1)
        filled = torch.where(known, ring.rgb, torch.cat([sky, ground], 1))
        pole = torch.cat([torch.full((half, width), _SKY), torch.full((height - half, width), _GROUND)])
        piece = torch.where(known, ring.copy, pole)
        overhead = not indoor and not shows_sky(ring.rgb, known)
        if overhead:
            filled, piece = _grow_overhead(filled, piece)
        return close_seams(filled, piece), own | ~_gaps(piece, overhead, self.gap_deg)


def _gaps(piece: Tensor, overhead: bool, gap_deg: float) -> Tensor:
    """bool [H, W]: what is left to the network, round the photo, between its copies and towards the poles."""
    poles = (piece == _GROUND).int() + 2 * (piece == _SKY).int()
    gap = degrees_to_seam(piece) < gap_deg / 2
    gap |= degrees_to_seam(piece == 0) < gap_deg
    gap |= degrees_to_seam(poles) < _POLE_GAPS * gap_deg / 2
    if overhead:  # what fades out near the zenith needs none
        gap[: round(_FADED_DEG / 180 * len(piece))] = False
    return gap


def _grow_overhead(rgb: Tensor, piece: Tensor) -> tuple[Tensor, Tensor]:
    """What stands in the ring goes on upwards, and all but fades out at the zenith, where its lines would meet."""
    above, known = piece == _SKY, piece < _SKY
    grown = grow_upwards(torch.where(known, rgb, 0.0), known)
    copies = grow_upwards(torch.where(known, piece, 0)[None].float(), known)[0].round().int()
    height = len(piece)
    from_zenith = (torch.arange(height) + 0.5) / height * 180
    fade = smoothstep(from_zenith / _FADED_DEG)[:, None]
    colour = (grown * above).sum((1, 2))[:, None, None] / above.sum().clamp(min=1)
    return torch.where(above, colour + (grown - colour) * fade, rgb), torch.where(above, copies, piece)


def _pole(photo: View, rgb: Tensor, known: Tensor, down: bool, is_sky: bool, seed: int) -> Tensor:
    """The upper or lower half of a panorama, [3, H / 2, W]."""
    height, width = known.shape
    rows = slice(height // 2, None) if down else slice(0, height // 2)
    field = colour_field(rgb, known, down, is_sky)
    density = 0.5 * width / (2 * math.pi)
    texture = None if is_sky else plane_texture(photo, field, down, density)  # a photo's sky is no plane
    if texture is None:
        return field[:, rows]
    if not down:
        texture = texture * min(1.0, _CALM_CEILING / (float(texture.std()) + 1e-6))
    x, y, z = directions(height, width)[rows].unbind(-1)
    plane = _SHRINK * density / y.abs().clamp(min=0.2)
    return field[:, rows] + spread_texture(texture, x * plane, z * plane, seed)
