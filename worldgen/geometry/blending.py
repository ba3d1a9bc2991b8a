"""How pictures go over into each other: where the pictures are, on any device."""

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """[...] to [...]: 0 up to 0, 1 from 1, smooth between (3x^2 - 2x^3)."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def edge_feather(height: int, width: int, feather_px: float, device: torch.device | str = "cpu") -> Tensor:
    """[height, width]: 1 inside, falling smoothly to 0 at the image border over `feather_px` pixels."""
    y, x = torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5
    to_edge = torch.minimum(torch.minimum(y, height - y)[:, None], torch.minimum(x, width - x)[None])
    return smoothstep(to_edge / max(feather_px, 1e-6))


def reflect_outwards(rgb: Tensor, inside: Tensor, width_px: float) -> Tensor:
    """Fades the mirror image of what is `inside`, bool [H, W], into the first pixels outside of it; [3, H, W] both.

    What was painted beside a photo continues its colours but not every grain of it; so narrow a reflection shows
    nothing but that the photo's border is gone. `inside` must not reach the image's left and right edge.
    """
    rows, columns = _box(inside, round(width_px) + 1)
    part, keep = rgb[:, rows, columns], inside[rows, columns]
    far, indices = distance_transform_edt(~keep.cpu().numpy(), return_indices=True)
    away, nearest = torch.from_numpy(far).float().to(rgb.device), torch.from_numpy(indices).long().to(rgb.device)
    grid = torch.stack(torch.meshgrid(*(torch.arange(n, device=rgb.device) for n in keep.shape), indexing="ij"))
    # The border lies half a pixel outside the nearest pixel: the first pixel outside shows that pixel itself.
    mirrored = nearest + ((nearest - grid) * (1 - 1 / away.clamp(min=1))).round().long()
    y, x = (m.clamp(0, n - 1) for m, n in zip(mirrored, keep.shape, strict=True))
    share = (1 - smoothstep(away / (width_px + 1))) * (keep[y, x] & ~keep)
    out = rgb.clone()
    out[:, rows, columns] = part + (part[:, y, x] - part) * share
    return out


def _box(mask: Tensor, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask [H, W] that hold anything, and `margin` more on every side."""
    spans = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        found = mask.any(axis).nonzero()[:, 0]
        first, last = (int(found[0]), int(found[-1])) if len(found) else (0, -1)
        spans.append(slice(max(0, first - margin), min(length, last + 1 + margin)))
    return spans[0], spans[1]
