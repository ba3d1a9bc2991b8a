"""The trainable distortion field (paper, "Trainable distortion"): small smooth warps that reconcile generated views.

    warped(p) = bilinear(render; p + f(p, c; theta))

f is an MLP of 3 layers x 128 units on harmonic embeddings of the position p, with a learnable embedding c per image,
evaluated on a coarse grid and bilinearly upsampled. Positions and offsets are in normalised units: -1 .. 1 spans the
picture. The field serves training alone; the finished world is rendered without it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgen.splat.numba_warp import image_gradient, offset_gradient, warp_forward


class DistortionField(nn.Module):
    """One smooth warp per image; all of them the identity at first.

    images: how many; grid: nodes per axis at which the MLP is evaluated. The paper does not state the number of
    octaves of the harmonic embedding nor the length of an image's embedding.
    """

    def __init__(self, images: int, grid: int = 128, seed: int = 0, octaves: int = 4, embedding: int = 16) -> None:
        super().__init__()
        units = 128
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.images = nn.Embedding(images, embedding)
            self.position_layer = nn.Linear(2 + 4 * octaves, units)
            self.image_layer = nn.Linear(embedding, units, bias=False)
            self.layers = nn.Sequential(
                nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2)
            )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)
        self.grid = grid
        self.register_buffer("harmonics", _harmonics(grid, octaves), persistent=False)

    def offsets(self, image: int) -> Tensor:
        """f at the grid's nodes, [2, G, G]: x and y offsets in normalised units."""
        # The first layer sees [harmonics, embedding]; the embedding's share is one vector for the whole image.
        code = self.images.weight[image]
        hidden = self.position_layer(self.harmonics) + self.image_layer(code)
        return self.layers(hidden).T.reshape(2, self.grid, self.grid)

    def forward(self, render: Tensor, image: int) -> Tensor:
        """render [3, H, W], warped as the image with this number is, [3, H, W]."""
        return warp(render, self.offsets(image))


def warp(image: Tensor, offsets: Tensor) -> Tensor:
    """Reads image [C, H, W] at p + offset(p); offsets [2, G, G] (x, y; normalised units) are upsampled bilinearly.

    Differentiable in both. Beyond the border the border's colour is read.
    """
    if image.is_cuda or image.dtype == torch.float64:
        return _plain_warp(image, offsets)
    return _FusedWarp.apply(image, offsets)


def _plain_warp(image: Tensor, offsets: Tensor) -> Tensor:
    """The same in torch, on any device and in any precision."""
    height, width = image.shape[1:]
    fine = F.interpolate(offsets[None], (height, width), mode="bilinear", align_corners=False)[0]
    x = (torch.arange(width).to(image) + 0.5) / width * 2 - 1
    y = (torch.arange(height).to(image) + 0.5) / height * 2 - 1
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + fine.permute(1, 2, 0)
    return F.grid_sample(image[None], at[None], "bilinear", "border", align_corners=False)[0]


class _FusedWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, offsets: Tensor) -> Tensor:
        image, offsets = image.detach().contiguous(), offsets.detach().contiguous()
        warped, positions = warp_forward(image.numpy(), offsets.numpy())
        ctx.save_for_backward(image, torch.from_numpy(positions))
        ctx.nodes = offsets.shape[1]
        return torch.from_numpy(warped)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        image, positions = (tensor.numpy() for tensor in ctx.saved_tensors)
        grad = grad.contiguous().numpy()
        to_image = torch.from_numpy(image_gradient(positions, grad)) if ctx.needs_input_grad[0] else None
        to_offsets = offset_gradient(image, positions, grad, ctx.nodes) if ctx.needs_input_grad[1] else None
        return to_image, None if to_offsets is None else torch.from_numpy(to_offsets)


def _harmonics(grid: int, octaves: int) -> Tensor:
    """[G * G, 2 + 4 octaves]: the nodes' positions (cell centres), and their sines and cosines octave by octave."""
    centres = (torch.arange(grid) + 0.5) / grid * 2 - 1
    positions = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    phases = [positions * (math.pi * 2**octave) for octave in range(octaves)]
    return torch.cat([positions, *(wave(phase) for phase in phases for wave in (torch.sin, torch.cos))], dim=1)
