"""Quaternions, wxyz as gsplat has them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def rotations(quats: Tensor) -> Tensor:
    """Quaternions wxyz [N, 4] of any length to rotation matrices [N, 3, 3]."""
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def quaternion_product(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton's product of quaternions wxyz [..., 4]: the rotation `right`, then `left`."""
    a, b, c, d = left.unbind(-1)
    w, x, y, z = right.unbind(-1)
    parts = (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
    return torch.stack(parts, dim=-1)
