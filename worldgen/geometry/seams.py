"""Closes steps of brightness and colour where pieces of a panorama meet."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from torch import Tensor

from worldgen.geometry.blending import smoothstep
from worldgen.geometry.equirect import directions, pad
from worldgen.geometry.fill import enlarge
from worldgen.processors import usable_cores

_GRID = 256  # columns of the coarse panorama on which the correction is found
_REACH = 40  # grid columns over which a correction dies away
_SAME = 0.2  # colour step beyond which two sides are different things and may differ
_SAME_IN_CALM = 0.5  # the same where both sides are calm: at one height, sky meets sky
_CALM, _BUSY = 0.03, 0.12  # root mean square colour step between neighbours on that grid
_NEAR = 2  # grid columns and rows on every side over which it is taken


def close_seams(rgb: Tensor, piece: Tensor) -> Tensor:
    """rgb [3, H, W] equirectangular, made of pieces, int [H, W] (0 = the photo, which stays) -> [3, H, W].

    Adds to every other piece a smooth correction that takes the step away where pieces meet, in the least-squares
    sense (gradient-domain compositing, Perez et al., 2003, on a coarse grid), except where what meets is too
    different to be the same thing. Side by side two calm pieces, as of a sky whose light comes from one side, may be
    more different than others and still be the same.
    """
    height, width = piece.shape
    rows, columns = _GRID // 2, _GRID
    label = F.interpolate(piece[None, None].float(), (rows, columns), mode="nearest-exact")[0, 0].long()
    # A coarse pixel has the colour of its own piece alone, or steps would be measured too small.
    own = F.interpolate(label[None, None].float(), (height, width), mode="nearest-exact")[0, 0] == piece
    share = F.interpolate(own[None, None].float(), (rows, columns), mode="area")[0]
    coarse = F.interpolate((rgb * own)[None], (rows, columns), mode="area")[0] / share.clamp(min=1e-6)
    calm = _calmness(coarse, label).double().cpu().numpy()
    colour = coarse.permute(1, 2, 0).reshape(-1, 3).double().cpu().numpy()
    correction = torch.from_numpy(_correction(colour, label.cpu().numpy(), calm)).float().to(rgb.device)
    return torch.where(piece == 0, rgb, rgb + _enlarge_apart(correction.T.reshape(3, rows, columns), label, piece))


def _calmness(coarse: Tensor, label: Tensor) -> Tensor:
    """[R, C]: 1 where hardly anything is near a pixel of [3, R, C], 0 where things are; pieces: label [R, C]."""
    energy, count = torch.zeros_like(coarse[0]), torch.zeros_like(coarse[0])
    for dim in (0, 1):
        own = (label == label.roll(-1, dim)).float()
        if dim == 0:
            own[-1] = 0  # there is nothing below the last row
        energy += own * (coarse - coarse.roll(-1, dim + 1)).square().sum(0)
        count += own
    energy, count = F.avg_pool2d(pad(torch.stack([energy, count]), _NEAR)[None], 2 * _NEAR + 1, stride=1)[0]
    busy = (2 * energy / count.clamp(min=1e-6)).sqrt()
    return 1 - smoothstep((busy - _CALM) / (_BUSY - _CALM))


def _enlarge_apart(coarse: Tensor, label: Tensor, piece: Tensor) -> Tensor:
    """A coarse panorama [3, R, C] on the grid of piece [H, W]: bilinear, from pixels of the same piece alone."""
    (height, width), (rows, columns) = piece.shape, label.shape
    y = (torch.arange(height, device=piece.device) + 0.5) / height * rows - 0.5
    x = (torch.arange(width, device=piece.device) + 0.5) / width * columns - 0.5
    total = torch.zeros(3, height, width, device=piece.device)
    weight = torch.full((height, width), 1e-6, device=piece.device)
    for down in (0, 1):
        for across in (0, 1):
            row, column = y.floor().long() + down, x.floor().long() + across
            share = (1 - (y - row).abs())[:, None] * (1 - (x - column).abs())
            row, column = row.clamp(0, rows - 1), column % columns
            share = share * (label[row][:, column] == piece)
            total += share * coarse[:, row][:, :, column]
            weight += share
    return torch.where(weight > 1e-5, total / weight, enlarge(coarse, height, width))


def _correction(colour: np.ndarray, label: np.ndarray, calm: np.ndarray) -> np.ndarray:
    """What to add to colour [R * C, 3] of pieces label [R, C] (0 stays), calm [R, C] in 0..1 -> [R * C, 3]."""
    rows, columns = label.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    cos_lat = np.cos((np.arange(rows) + 0.5 - rows / 2) * math.pi / rows)
    across = (index, np.roll(index, -1, 1), np.repeat(1 / cos_lat, columns))
    down = (index[:-1], index[1:], np.repeat((cos_lat[:-1] + cos_lat[1:]) / 2, columns))
    a, b = (np.concatenate([across[k].ravel(), down[k].ravel()]) for k in (0, 1))
    weight = np.concatenate([across[2], down[2]])
    seam = label.ravel()[a] != label.ravel()[b]
    step = np.where(seam[:, None], colour[a] - colour[b], 0.0)
    both_calm = np.zeros(len(a))  # what lies above each other may differ: walls end and skies begin
    both_calm[: index.size] = np.minimum(calm, np.roll(calm, -1, 1)).ravel()
    size = np.square(step).sum(1)
    same = (1 + size / _SAME**2) ** -3
    weight = weight * (same + both_calm * ((1 + (size / _SAME_IN_CALM**2) ** 2) ** -3 - same))
    count = index.size
    links = np.arange(len(a))
    gradient = coo_matrix((np.ones(len(a)), (links, b)), (len(a), count)) - coo_matrix(
        (np.ones(len(a)), (links, a)), (len(a), count)
    )
    weighted = gradient.T @ diags(weight)
    stay = np.repeat(cos_lat, columns) / _REACH**2 + np.where(label.ravel() == 0, 1e6, 0.0)
    solve = splu((weighted @ gradient + diags(stay)).tocsc())
    return solve.solve(weighted @ step)


def degrees_to_seam(piece: Tensor) -> Tensor:
    """piece int [H, W] on a panorama -> [H, W], the angle to the nearest place where two pieces meet, in degrees.

    About exact: to within a pixel of a grid of at most 512 x 256. 180 where there is one piece.
    """
    height, width = piece.shape
    seam = piece != piece.roll(1, 1)
    seam[1:] |= piece[1:] != piece[:-1]
    size = (min(height, _GRID), min(width, 2 * _GRID))
    seam = F.adaptive_max_pool2d(seam[None].float(), size)[0] > 0
    rays = directions(*size)  # scipy's tree is on the CPU, so what it is asked is too
    if not bool(seam.any()):
        return torch.full((height, width), 180.0, device=piece.device)
    chord, _ = cKDTree(rays[seam.cpu()].numpy()).query(rays.reshape(-1, 3).numpy(), workers=usable_cores())
    angle = torch.from_numpy(np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1)))).float().reshape(1, *size)
    return enlarge(angle.to(piece.device), height, width)[0]
