"""A style that breaks at the photo's border: colour, contrast and texture across it, against the same within it.

Photos are not alike all over, so what counts is what changes in one sense all along the border: the mean jump of each
statistic, in standard errors of the jumps between two bands inside. It needs no true picture.
"""

import torch
from torch import Tensor

from worldgen.errors import UserError
from worldgen.geometry.equirect import to_perspective
from worldgen.types import Camera

KINDS = ("colour", "contrast", "texture")
_BAND = 0.12  # of the photo's width: of what is compared, inside the border and outside
_PIECES = 6  # along each side of the photo: a sky is compared with the sky
_FLOOR = {"colour": 0.002, "contrast": 0.02, "texture": 0.02}  # what rounding to 8 bits may change
_FLAT = 1 / 255  # contrast and texture have a logarithm in a flat picture, too


def style_breaks(panorama: Tensor, photo: Camera) -> dict[str, float]:
    """How far each of KINDS jumps at the photo's border, in standard errors of such jumps within it: a few where the
    photo's style goes on, many where it does not. panorama: [3, H, 2H] with what the camera `photo` saw in its place.
    Raises UserError for a strip, on whose short sides there is nothing to compare.
    """
    band = round(_BAND * photo.width)
    if min(photo.width, photo.height) - 2 * band < 2 * _PIECES:
        raise UserError("the photo is so narrow a strip that there is nothing to compare on its short sides")
    height, width = photo.height + 2 * band, photo.width + 2 * band
    wide = Camera(photo.c2w, width, height, photo.fx, photo.fy, photo.cx + band, photo.cy + band)
    outside, border, inside = _bands(to_perspective(panorama, wide), band)
    floor = torch.tensor([_FLOOR["colour"]] * 3 + [_FLOOR["contrast"], _FLOOR["texture"]])
    error = (border - inside).square().mean(dim=0).div(len(border)).sqrt()
    jumps = (outside - border).mean(dim=0).abs() / (error + floor)
    return {"colour": float(jumps[:3].max()), "contrast": float(jumps[3]), "texture": float(jumps[4])}


def _bands(rgb: Tensor, band: int) -> list[Tensor]:
    """Statistics [pieces, 5] of three bands from the rim of [3, H, W] inwards; the photo's border lies between the
    first and the second."""
    sides = [rgb, rgb.flip(1), rgb.transpose(1, 2), rgb.transpose(1, 2).flip(1)]  # each with its side on top
    found = []
    for number in range(3):
        strips = [side[:, number * band : (number + 1) * band, 2 * band : -2 * band] for side in sides]
        found.append(torch.stack([_statistics(piece) for strip in strips for piece in strip.tensor_split(_PIECES, 2)]))
    return found


def _statistics(rgb: Tensor) -> Tensor:
    """[5]: red, green and blue of a piece [3, h, w], the logarithms of its contrast and texture."""
    luma = rgb.mean(dim=0)
    texture = (luma[1:] - luma[:-1]).abs().mean() + (luma[:, 1:] - luma[:, :-1]).abs().mean()
    return torch.cat([rgb.mean(dim=(1, 2)), (torch.stack([luma.std(), texture]) + _FLAT).log()])
