"""Completion by a ControlNet that is shown the rendered points and where they are (arXiv 2503.16611, 8).

The ControlNet of `train.controlnet` steers an inpainting pipeline; both share the inpainter's networks. Without one the
inpainter completes alone, as `completer=inpainting` does.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from worldgen.errors import UserError, expect, is_whole
from worldgen.models.diffusion import DiffusionInpainter
from worldgen.models.hub import HubWeights, load_whole
from worldgen.models.inpainting_completer import InpaintingCompleter
from worldgen.models.loading import enough_memory, free_memory, one_line, quiet
from worldgen.models.pipeline_parts import place
from worldgen.models.protocols import CompleteViews, Composite, Inpainter, Lifetime, ViewCompleter
from worldgen.models.runtime import Runtime
from worldgen.types import PointCloud, Prompt, Prompts

_OUT_OF_MEMORY = "completer: out of GPU memory, wanted runtime.offload=model or sequential"
CHANNELS = 4  # of the condition: red, green, blue, known

PIPELINES = {  # of an inpainter's pipeline, the one with a ControlNet
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLControlNetInpaintPipeline",
    "StableDiffusionInpaintPipeline": "StableDiffusionControlNetInpaintPipeline",
}


def condition(rgb: Tensor, known: Tensor) -> Tensor:
    """What the ControlNet is shown: rgb [B, 3, H, W] in [0, 1], known [B, H, W], 1 = known -> [B, 4, H, W].

    The points' colours, black where there are none, and the mask. Training shows it the same.
    """
    mask = known[:, None].to(rgb.dtype)
    return torch.cat([rgb * mask, mask], dim=1)


@dataclass
class ControlNetCompleter(Composite, ViewCompleter, Inpainter):
    """Fulfils ViewCompleter; leaves the views' depth to the recipe.

    inpainter: whose networks it steers; a DiffusionInpainter of SDXL or Stable Diffusion. controlnet: owner/name on the
    hub. path: a folder in the hub's layout, instead; both None: the inpainter completes alone. download: whether what
    is missing may be fetched. scale: of the ControlNet's say; until: the part of the denoising in which it has one.
    steps: of denoising, None = the inpainter's.
    """

    inpainter: Inpainter
    controlnet: str | None = None
    path: str | None = None
    download: bool = False
    scale: float = 1.0
    until: float = 1.0
    steps: int | None = None
    _pipe: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        expect("completer.scale", self.scale, 0 <= self.scale <= 2, "0 to 2")
        expect("completer.until", self.until, 0 < self.until <= 1, "more than 0 and at most 1")
        fits = self.steps is None or (is_whole(self.steps) and self.steps >= 1)
        expect("completer.steps", self.steps, fits, "a whole number from 1, or null")
        if self.checkpoint is not None:
            fits = isinstance(self.inpainter, DiffusionInpainter)
            wanted = "one of SDXL or Stable Diffusion, such as inpainter=sdxl, for a ControlNet to steer"
            expect("completer.inpainter", type(self.inpainter).__name__, fits, wanted)

    @property
    def checkpoint(self) -> HubWeights | None:
        """The ControlNet; None where none is configured."""
        if self.controlnet is None and self.path is None:
            return None
        name = self.controlnet or "a ControlNet of train.controlnet"
        return HubWeights(name, "", "completer", self.path, self.download)

    @property
    def weights(self) -> Sequence[HubWeights]:
        """All that is loaded from the hub, but for the inpainter's."""
        return () if self.checkpoint is None else (self.checkpoint,)

    def unavailable(self) -> str | None:
        """Why the ControlNet cannot be loaded, in one line; None where it can, or none is configured."""
        return None if self.checkpoint is None else self.checkpoint.unavailable()

    def parts(self) -> Sequence[Lifetime]:
        """The inpainter, which holds the networks that are steered."""
        return (self.inpainter,)

    def load(self, runtime: Runtime) -> None:
        """The inpainter's networks and the ControlNet. Raises UserError where one is missing or made for another."""
        super().load(runtime)
        if self.checkpoint is None or self._pipe is not None:
            return
        folder = self.checkpoint.folder()
        with quiet(), one_line(f"completer: {folder}: cannot be loaded"), enough_memory(_OUT_OF_MEMORY):
            self._pipe = self._steered(folder, runtime)

    def release(self) -> None:
        """Frees the memory of all of them."""
        self._pipe = None
        super().release()
        free_memory()

    def begin(self, cloud: PointCloud, prompts: Prompts) -> CompleteViews:
        """See `protocols.ViewCompleter`; of the scene it sees what the views' renders show."""
        return InpaintingCompleter(self).begin(cloud, prompts)

    def __call__(self, rgb: Tensor, known: Tensor, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Tensor:
        """Fulfils Inpainter, with the ControlNet's say where there is one."""
        if self.checkpoint is None:
            return self.inpainter(rgb, known, prompts, seeds)
        assert self._pipe is not None, "ControlNetCompleter is called before it is loaded"
        options: dict[str, Any] = {"controlnet_conditioning_scale": self.scale, "control_guidance_end": self.until}
        if self.steps is not None:
            options["num_inference_steps"] = self.steps
        inpainter: Any = self.inpainter
        return inpainter.fill(rgb, known, prompts, seeds, self._pipe, condition, **options)

    def _steered(self, folder: Any, runtime: Runtime) -> Any:
        """The pipeline of the inpainter's parts and the ControlNet."""
        inpainter: Any = self.inpainter
        name = type(inpainter.pipe).__name__
        expect("completer.inpainter", name, name in PIPELINES, f"one of {', '.join(PIPELINES)}")
        network = load_controlnet(folder, runtime)
        _expect_fit(network, inpainter.pipe, str(folder))
        pipe = steered_pipeline(inpainter.pipe, network)
        place(pipe, runtime, network)
        return pipe


def load_controlnet(folder: Any, runtime: Runtime) -> Any:
    """diffusers' ControlNetModel of a folder, on the CPU. Raises UserError where weights are missing."""
    import diffusers

    return load_whole(diffusers.ControlNetModel, folder, torch_dtype=runtime.torch_dtype)


def steered_pipeline(base: Any, network: Any) -> Any:
    """diffusers' pipeline of a base's parts, which it shares, and a ControlNet. base: one of `PIPELINES`."""
    import diffusers

    kind = getattr(diffusers, PIPELINES[type(base).__name__])
    taken = inspect.signature(kind.__init__).parameters
    parts = {part: value for part, value in base.components.items() if part in taken}
    switches = {"add_watermarker": False, "requires_safety_checker": False}
    pipe = kind(controlnet=network, **parts, **{name: value for name, value in switches.items() if name in taken})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _expect_fit(network: Any, pipe: Any, folder: str) -> None:
    """Raises UserError for a ControlNet that was trained for another condition or another network."""
    seen = network.config.conditioning_channels
    wanted = f"{CHANNELS}: the points' colours and their mask, as train.controlnet makes it"
    expect(f"completer: {folder}: conditioning_channels", seen, seen == CHANNELS, wanted)
    for name, has, asked in (
        ("in_channels", network.config.in_channels, pipe.vae.config.latent_channels),
        ("cross_attention_dim", network.config.cross_attention_dim, pipe.unet.config.cross_attention_dim),
        ("block_out_channels", list(network.config.block_out_channels), list(pipe.unet.config.block_out_channels)),
    ):
        if has != asked:
            raise UserError(f"completer: {folder}: {name}: {has}, wanted {asked}, as the inpainter's network has it")
