"""A coarse guess about regions, settled where a picture has its edges (after Grady, PAMI 2006, with priors)."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

_SIDE = 160  # pixels of the longer side on which it is solved
_STEP = 0.03  # colour difference of neighbours that a region ends at
_LEAK = 1e-3  # how much neighbours hold together across any edge
_TRUST = 0.05  # of a sure guess, against a neighbour of the same colour
_BAND = 0.06  # of the longer side: how near to its own outline the guess is not trusted
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def settled(guess: Tensor, rgb: Tensor) -> Tensor:
    """guess [h, w] in 0..1 about a picture rgb [3, H, W] -> [h', w'] in 0..1: alike where colours are."""
    sides = [max(1, round(n * _SIDE / max(rgb.shape[1:]))) for n in rgb.shape[1:]]
    colours = F.interpolate(rgb[None], sides, mode="area")[0]
    prior = F.interpolate(guess[None, None], sides, mode="bilinear", align_corners=False)[0, 0]
    inside = prior.numpy() > 0.5
    if inside.all() or not inside.any():
        return prior
    from_outline = ndimage.distance_transform_edt(inside) + ndimage.distance_transform_edt(~inside)
    sure = (2 * prior.numpy() - 1) ** 2 * np.clip(from_outline / (_BAND * max(sides)), 0, 1) ** 2
    trust = (_TRUST * sure + 1e-5).ravel()
    bonds = _bonds(colours.numpy())
    system = sparse.diags(np.asarray(bonds.sum(1)).ravel() + trust) - bonds
    solved = spsolve(system.tocsc(), trust * prior.numpy().ravel().astype(float))
    return torch.from_numpy(solved.reshape(sides).astype(np.float32))


def _bonds(colours: np.ndarray) -> sparse.csr_matrix:
    """How much each pixel of [3, h, w] holds together with its eight neighbours: symmetric [h w, h w]."""
    height, width = colours.shape[1:]
    numbers, flat = np.arange(height * width).reshape(height, width), colours.reshape(3, -1).astype(float)
    rows, columns, strengths = [], [], []
    for down, right in _NEIGHBOURS:
        one = numbers[: height - down, max(0, -right) : width - max(0, right)].ravel()
        other = numbers[down:, max(0, right) : width + min(0, right)].ravel()
        differ = np.square(flat[:, one] - flat[:, other]).sum(0)
        rows.append(one)
        columns.append(other)
        strengths.append((np.exp(-differ / (2 * _STEP**2)) + _LEAK) / np.hypot(down, right))
    places = np.concatenate(rows), np.concatenate(columns)
    half = sparse.coo_matrix((np.concatenate(strengths), places), (numbers.size,) * 2).tocsr()
    return half + half.T
