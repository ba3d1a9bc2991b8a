"""The trainable distortion field (paper, "Trainable distortion"): small smooth warps that reconcile generated views.

    warped(p) = bilinear(render; p + f(p, c; theta))

f is an MLP of 3 layers x 128 units on harmonic embeddings of the position p, with a learnable embedding c per image,
evaluated on a coarse grid and bilinearly upsampled. Positions and offsets are in normalised units: -1 .. 1 spans the
picture. The field serves training alone; the finished world is rendered without it.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgen.splat.kernels.distortion import image_gradient, offset_gradient, warp_forward

_CACHED_ROWS = 2048
"""Nodes, of all images together, whose 128 units stay in a CPU core's cache from layer to layer."""


class DistortionField(nn.Module):
    """One smooth warp per image; all of them the identity at first.

    images: how many; grid: nodes per axis at which the MLP is evaluated. The paper does not state the number of
    octaves of the harmonic embedding nor the length of an image's embedding.

    zero_mean decides what holds the scene in place. Where some views are compared undistorted (the panorama's), those
    do, and the fields are free (False): a generated view may truly be shifted. Where every view is distorted nothing
    does: the scene could turn or move while all fields follow it. Then (True) each image's offsets have their mean
    over the grid subtracted. No field can shift its picture as a whole, and whatever turns or moves a scene shifts at
    least one of the pictures that see it from all sides.
    """

    harmonics: Tensor

    def __init__(
        self,
        images: int,
        grid: int = 128,
        seed: int = 0,
        octaves: int = 4,
        embedding: int = 16,
        zero_mean: bool = False,
    ) -> None:
        super().__init__()
        units = 128
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.images = nn.Embedding(images, embedding)
            self.position_layer = nn.Linear(2 + 4 * octaves, units)
            self.image_layer = nn.Linear(embedding, units, bias=False)
            hidden = [nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU()]
            last = nn.Linear(units, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*hidden, last)
        self.grid = grid
        self.zero_mean = zero_mean
        self.register_buffer("harmonics", _harmonics(grid, octaves), persistent=False)

    def offsets(self, image: int | Tensor) -> Tensor:
        """f at the grid's nodes: x and y offsets in normalised units.

        image: one image's number, for [2, G, G]; or several in a LongTensor [B], for [B, 2, G, G] in one pass.
        """
        codes = self.image_layer(self.images.weight[image])
        # On the CPU the nodes go through the layers in parts (a sixth faster at G = 128); a GPU wants all at once.
        images = codes.numel() // codes.shape[-1]
        together = len(self.harmonics) if codes.is_cuda else max(1, _CACHED_ROWS // images)
        parts = [self._at(nodes, codes[..., None, :]) for nodes in self.harmonics.split(together)]
        offsets = torch.cat(parts, dim=-2).mT.unflatten(-1, (self.grid, self.grid))
        return offsets - offsets.mean(dim=(-2, -1), keepdim=True) if self.zero_mean else offsets

    def forward(self, render: Tensor, image: int | Tensor) -> Tensor:
        """render, warped as the image with this number is: [3, H, W], or [B, 3, H, W] for B numbers."""
        return warp(render, self.offsets(image))

    def _at(self, nodes: Tensor, codes: Tensor) -> Tensor:
        """f [..., N, 2] at nodes of harmonics [N, F] for images whose share of the first layer is [..., 1, 128].

        The first layer sees [harmonics, embedding]: the nodes' share is the same for all images, the embedding's is
        one vector for a whole image.
        """
        return self.layers(self.position_layer(nodes) + codes)


def warp(image: Tensor, offsets: Tensor) -> Tensor:
    """Reads image [C, H, W] at p + offset(p); offsets [2, G, G] (x, y; normalised units) are upsampled bilinearly.

    Differentiable in both. Beyond the border the border's colour is read. With a leading [B] in both: one warp each.
    """
    if image.is_cuda or image.dtype == torch.float64:
        return _plain_warp(image, offsets)
    if image.dim() == 4:
        return torch.stack([_FusedWarp.apply(*pair) for pair in zip(image, offsets, strict=True)])
    return _FusedWarp.apply(image, offsets)


def _plain_warp(image: Tensor, offsets: Tensor) -> Tensor:
    """The same in torch, on any device and in any precision."""
    height, width = image.shape[-2:]
    images, fields = (tensor.reshape(-1, *tensor.shape[-3:]) for tensor in (image, offsets))
    fine = F.interpolate(fields, (height, width), mode="bilinear", align_corners=False)
    x = (torch.arange(width, device=image.device).to(image) + 0.5) / width * 2 - 1
    y = (torch.arange(height, device=image.device).to(image) + 0.5) / height * 2 - 1
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + fine.permute(0, 2, 3, 1)
    return F.grid_sample(images, at, "bilinear", "border", align_corners=False).reshape(image.shape)


class _FusedWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, offsets: Tensor) -> Tensor:
        image, offsets = image.detach().contiguous(), offsets.detach().contiguous()
        warped, positions = warp_forward(image.numpy(), offsets.numpy())
        ctx.save_for_backward(image, torch.from_numpy(positions))
        ctx.nodes = offsets.shape[1]
        return torch.from_numpy(warped)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        image, positions = (tensor.numpy() for tensor in ctx.saved_tensors)
        upstream = grad.contiguous().numpy()
        to_image = to_offsets = None
        if ctx.needs_input_grad[0]:
            to_image = torch.from_numpy(image_gradient(positions, upstream))
        if ctx.needs_input_grad[1]:
            to_offsets = torch.from_numpy(offset_gradient(image, positions, upstream, ctx.nodes).sum(axis=0))
        return to_image, to_offsets


def _harmonics(grid: int, octaves: int) -> Tensor:
    """[G * G, 2 + 4 octaves]: the nodes' positions (cell centres), and their sines and cosines octave by octave."""
    centres = (torch.arange(grid) + 0.5) / grid * 2 - 1
    positions = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    phases = [positions * (math.pi * 2**octave) for octave in range(octaves)]
    return torch.cat([positions, *(wave(phase) for phase in phases for wave in (torch.sin, torch.cos))], dim=1)
