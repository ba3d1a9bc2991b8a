"""What a fit is made of, as a hash: equal where the same Gaussians would come of it."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from train.splat.settings import SplatSettings
from worldgen.types import Camera, Scene

_VERSION = 2  # raised when the same arguments come to make something else


def fingerprint(settings: SplatSettings, scene: Scene, seed: int) -> str:
    """16 hex digits, equal for arguments that make the same of the same: a checkpoint serves no others."""
    telling = replace(settings, logger="none", evaluate_every=1, checkpoint_every=1)
    return hashlib.sha256(f"{_VERSION} {telling} {seed} {scene_sha256(scene)}".encode()).hexdigest()[:16]


def scene_sha256(scene: Scene) -> str:
    """Of what the scene was made of, where it says that; else of everything that it holds but its name, view by view.

    The first stays the same on another kind of processor, which rounds float32 otherwise: a fit that is requeued there
    goes on.
    """
    if scene.source:
        return hashlib.sha256(scene.source.encode()).hexdigest()
    digest = hashlib.sha256()

    def add(*tensors: Tensor | None) -> None:
        for tensor in tensors:
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().data)

    cloud = scene.cloud
    add(cloud.xyz, cloud.rgb, cloud.normals, cloud.spacing, cloud.sky)
    for fitted in scene.views:
        digest.update(f"{_lens(fitted.camera)} {fitted.generated}".encode())
        add(fitted.camera.c2w, fitted.rgb, fitted.weight, fitted.alpha)
    for apart in scene.held_out:
        digest.update(f"{_lens(apart.camera)}".encode())
        add(apart.camera.c2w, apart.rgb, apart.known, apart.background)
    digest.update(b"guessed" * scene.guessed)
    return digest.hexdigest()


def _lens(camera: Camera) -> Camera:
    """The same without its pose."""
    return replace(camera, c2w=torch.eye(4))
