"""What all adapters over diffusers have in common: a checkpoint of the model hub, loaded whole and called in batches.

The pipelines are diffusers' own, by the class that the checkpoint names. What they are given and what comes back is
the adapters' matter (`diffusion.py`, `controlnet.py`).
"""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgen.errors import UserError, expect, is_whole
from worldgen.models.hub import HubWeights, missing_package
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.hub_file import HubFile
from worldgen.models.loading import enough_memory, free_memory, one_line, quiet
from worldgen.models.pipeline_parts import add_loras, lora, networks, pipeline_class, place, scheduler_for
from worldgen.types import Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from worldgen.models.runtime import Runtime

_log = logging.getLogger("worldgen")


@dataclass
class HubPipeline(HubAdapter):
    """One pipeline of diffusers.

    steps: of denoising. guidance: by the prompt; None = the pipeline's own. negative_prompt: what shall not be there,
    besides what prompts say of it. scheduler: a class of diffusers, None = the checkpoint's own; scheduler_options: of
    its constructor, by name. loras: each a mapping with `model` (owner/name on the hub, or a folder), `file` and
    `scale`. vae_tiling, vae_slicing: pictures to and from latents in tiles, or one by one: less memory. compile: by
    torch, which takes minutes once and saves part of every call. options: more arguments of the pipeline's call, by
    name. Other settings: see HubAdapter.
    """

    steps: int = 30
    guidance: float | None = 7.5
    negative_prompt: str = ""
    scheduler: str | None = None
    scheduler_options: Mapping[str, Any] | None = None
    loras: Sequence[Mapping[str, Any]] = ()
    vae_tiling: bool = False
    vae_slicing: bool = False
    compile: bool = False
    options: Mapping[str, Any] | None = None
    _pipe: Any = field(default=None, init=False, repr=False)
    _runtime: Any = field(default=None, init=False, repr=False)
    _told: bool = field(default=False, init=False, repr=False)  # that nobody listens to a negative prompt

    packages: ClassVar[Sequence[str]] = ("diffusers", "transformers")
    auto: ClassVar[str]  # AutoPipelineFor...: finds one of this kind where the checkpoint names another kind

    def __post_init__(self) -> None:
        expect(f"{self.key}.steps", self.steps, is_whole(self.steps) and self.steps >= 1, "a whole number from 1")
        fits = self.guidance is None or self.guidance >= 0
        expect(f"{self.key}.guidance", self.guidance, fits, "0 or more, or null for the pipeline's own")
        for number, one in enumerate(self.loras):
            lora(one, f"{self.key}.loras.{number}")

    @staticmethod
    @abstractmethod
    def fits(arguments: Set[str]) -> bool:
        """Whether a pipeline with these arguments of its call is of the adapter's kind."""

    @abstractmethod
    def expect_fit(self, pipe: Any) -> None:
        """Raises UserError where the checkpoint's networks are not made for what the adapter does."""

    @property
    def weights(self) -> Sequence[HubWeights | HubFile]:
        """All that is loaded from the hub: the checkpoint and the LoRAs."""
        places = [f"{self.key}.loras.{number}" for number in range(len(self.loras))]
        entries = zip(self.loras, places, strict=True)
        return (self.checkpoint, *(lora(one, place).weights(self.key, place, self.download) for one, place in entries))

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return missing_package("diffusers", "transformers", "accelerate", "peft", extra="paper")

    def versions(self) -> dict[str, str]:
        """Of the packages, of the checkpoint and of each LoRA."""
        of_loras = {
            f"loras.{number}.{name}": value
            for number, one in enumerate(self.weights[1:])
            for name, value in one.versions().items()
        }
        return super().versions() | of_loras

    @property
    def pipe(self) -> Any:
        """diffusers' pipeline, once it is loaded."""
        assert self._pipe is not None, f"{type(self).__name__} is called before it is loaded"
        return self._pipe

    @property
    def runtime(self) -> Runtime:
        """Where it is loaded."""
        assert self._runtime is not None, f"{type(self).__name__} is called before it is loaded"
        return self._runtime

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not there, not whole, or another thing."""
        if self._pipe is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        folder = self.checkpoint.folder()
        remedy = self._remedy(runtime, loading=True)
        with quiet(), one_line(f"{self.key}: {folder}: cannot be loaded"), enough_memory(remedy):
            pipe = self._assembled(folder, runtime)
            place(pipe, runtime)
        self._pipe, self._runtime = pipe, runtime

    def release(self) -> None:
        """Frees its memory."""
        self._pipe = None
        free_memory()

    def _assembled(self, folder: Path, runtime: Runtime) -> Any:
        """The pipeline as the settings want it, in the computer's memory."""
        kind, loader = pipeline_class(folder, self.key, self.auto, self.fits)
        given: dict[str, Any] = dict(networks(folder, runtime.torch_dtype))
        has = inspect.signature(kind.__init__).parameters
        if "safety_checker" in has:
            given |= {"safety_checker": None, "requires_safety_checker": False}
        if "add_watermarker" in has:
            given |= {"add_watermarker": False}  # which depends on whether a package happens to be installed
        pipe = loader.from_pretrained(folder, torch_dtype=runtime.torch_dtype, local_files_only=True, **given)
        pipe.set_progress_bar_config(disable=True)
        self.expect_fit(pipe)
        self._expect_taken(pipe)
        pipe.scheduler = scheduler_for(pipe.scheduler, self.scheduler, self.scheduler_options or {}, self.key)
        add_loras(pipe, self.loras, self.key, self.download)
        if self.vae_tiling:
            pipe.vae.enable_tiling()
        if self.vae_slicing:
            pipe.vae.enable_slicing()
        if self.compile:
            denoiser(pipe).compile()
        return pipe

    def _expect_taken(self, pipe: Any) -> None:
        """A setting that the pipeline would not hear of is a mistake."""
        taken, name = inspect.signature(pipe.__call__).parameters, type(pipe).__name__
        for option, value in (self.options or {}).items():
            expect(f"{self.key}.options.{option}", value, option in taken, f"an option that {name} takes")
        fits = not self.negative_prompt or "negative_prompt" in taken
        expect(f"{self.key}.negative_prompt", self.negative_prompt, fits, f'"": {name} takes none')

    def call(self, pipe: Any, prompts: Sequence[Prompt], seeds: Sequence[int], given: Mapping[str, Any]) -> Tensor:
        """One call for B pictures -> [B, 3, H, W] in [0, 1] on the CPU. Raises UserError for too little GPU memory.

        given: arguments of the pipeline's call, pictures among them, all of one size, which it is told by itself.
        Every picture draws from a generator of its own, on the CPU, so that neither its neighbours nor the device
        change it.
        """
        asked: dict[str, Any] = {
            "prompt": [prompt.text for prompt in prompts],
            "num_inference_steps": self.steps,
            "output_type": "pt",
        }
        if self.guidance is not None:
            asked["guidance_scale"] = self.guidance
        taken = inspect.signature(pipe.__call__).parameters
        own = self.negative_prompt
        unwanted = [", ".join(filter(str.strip, (own, prompt.negative))) or own for prompt in prompts]
        if any(unwanted):
            asked |= self._unwanted(type(pipe).__name__, unwanted, "negative_prompt" in taken)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        size = zip(("height", "width"), given["image"].shape[-2:], strict=True)
        asked |= {name: pixels for name, pixels in size if name in taken}  # some read it off the picture
        with quiet(), enough_memory(self._remedy(self.runtime)):
            painted = pipe(**asked | dict(self.options or {}) | dict(given), generator=generators).images
        answer = painted.float().cpu()
        fine = bool(answer.isfinite().all())
        expect("runtime.dtype", self.runtime.dtype, fine, f"another: {self.key} answers what is no number")
        return answer

    def _unwanted(self, name: str, unwanted: list[str], heard: bool) -> dict[str, list[str]]:
        """The argument that says what shall not be there; says once where nobody listens to it."""
        if heard:
            return {"negative_prompt": unwanted}
        if not self._told:
            _log.warning("%s: %s takes no negative prompt; prompts.negative is not heard", self.key, name)
            self._told = True
        return {}

    def _remedy(self, runtime: Runtime, loading: bool = False) -> str:
        """What to change where the GPU's memory is too small."""
        if not loading and runtime.batch > 1:
            wanted = f"runtime.batch={runtime.batch // 2} (it is {runtime.batch})"
        elif not loading and not self.vae_tiling:
            wanted = f"{self.key}.vae_tiling=true"
        elif runtime.offload != "sequential":
            wanted = f"runtime.offload={'model' if runtime.offload == 'none' else 'sequential'}"
        else:
            wanted = "smaller views, or another model"
        return f"{self.key}: out of GPU memory, wanted {wanted}; what is done is kept"


def denoiser(pipe: Any) -> Any:
    """The network that takes the steps."""
    unet = getattr(pipe, "unet", None)
    return pipe.transformer if unet is None else unet


def size_factor(pipe: Any) -> int:
    """What the sides of pictures have to be multiples of: latents are halved so often, or come in patches of 2x2."""
    unet = getattr(pipe, "unet", None)
    return pipe.vae_scale_factor * 2 ** (len(unet.config.block_out_channels) - 1 if unet is not None else 1)


def padded(pictures: Tensor, factor: int) -> Tensor:
    """[B, C, H, W], continued to the right and below by its border until `factor` divides both sides."""
    height, width = pictures.shape[-2:]
    return F.pad(pictures, (0, -width % factor, 0, -height % factor), mode="replicate")


def batches(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    """The numbers, so many at a time."""
    for start in range(0, len(numbers), size):
        yield list(numbers[start : start + size])


def eight_bits(rgb: Tensor) -> Tensor:
    """[...] in [0, 1] to the nearest multiples of 1/255."""
    return (rgb.clamp(0, 1) * 255).round() / 255
