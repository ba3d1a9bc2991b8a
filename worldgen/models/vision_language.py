"""Networks of the hub that are shown a picture and answer with text: loaded, asked, released.

transformers' image-text-to-text classes, by the class that the checkpoint names. What is asked and what the answer is
good for are the adapters' matter (`vlm.py`, `caption.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import UserError, expect, is_whole
from worldgen.models.hub import load_whole, missing_package
from worldgen.models.hub_adapter import HubAdapter
from worldgen.models.loading import enough_memory, free_memory, one_line, quiet_transformers

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime


@dataclass
class VisionLanguage(HubAdapter):
    """One network and the processor that goes with it.

    longest_px: of the picture's longer side as it is shown to the network, which may make it smaller still.
    most_tokens: of one answer. Other settings: see HubAdapter.
    """

    longest_px: int = 1024
    most_tokens: int = 512
    key: str = field(default="prompts", init=False)
    _network: Any = field(default=None, init=False, repr=False)
    _processor: Any = field(default=None, init=False, repr=False)
    _device: Any = field(default=None, init=False, repr=False)  # where it computes; layers that wait are elsewhere

    packages: ClassVar[Sequence[str]] = ("transformers",)

    def __post_init__(self) -> None:
        check_longest(self.longest_px, self.key)
        check_tokens(self.most_tokens, self.key)

    def lacks_code(self) -> str | None:
        """See HubAdapter."""
        return missing_package("transformers", "accelerate", "torchvision", extra="paper")

    @property
    def processor(self) -> Any:
        """What makes numbers of pictures and words, once it is loaded."""
        assert self._processor is not None, f"{type(self).__name__} is called before it is loaded"
        return self._processor

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not there, not whole, or another thing."""
        if self._network is not None:
            return
        if reason := self.lacks_code():
            raise UserError(reason)
        device, offload = runtime.torch_device, runtime.offload
        expect(
            "runtime.offload", offload, offload == "none" or device.type != "cpu", "none (networks run on a CPU here)"
        )
        folder = self.checkpoint.folder()
        what = f"{self.key}: {folder}: cannot be loaded as an image-text-to-text model"
        with quiet_transformers(), enough_memory(self._out_of_memory), one_line(what):
            from transformers import AutoModelForImageTextToText, AutoProcessor

            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            network = load_whole(AutoModelForImageTextToText, folder, dtype=runtime.torch_dtype).eval()
            if offload == "sequential":
                wait_by_layers(network, device)
            else:  # the only network of its step: there is none that it could wait for
                network.to(device)
        self._network, self._processor, self._device = network, processor, device

    def release(self) -> None:
        """Frees its memory."""
        self._network = self._processor = None
        free_memory()

    @property
    def _out_of_memory(self) -> str:
        wanted = f"runtime.offload=sequential, a smaller {self.key}.longest_px or {self.key}.model"
        return f"{self.key}: out of GPU memory, wanted {wanted}"

    @torch.no_grad()
    def answer(self, inputs: Any, **options: Any) -> str:
        """What the network says to the processor's inputs, always the same. options: of transformers' `generate`."""
        network = self._network
        assert network is not None, f"{type(self).__name__} is called before it is loaded"
        with quiet_transformers(), enough_memory(self._out_of_memory):
            inputs = inputs.to(self._device, network.dtype)  # numbers of words stay whole
            tokens = network.generate(**inputs, do_sample=False, max_new_tokens=self.most_tokens, **options)[0]
        if not network.config.is_encoder_decoder:
            tokens = tokens[inputs["input_ids"].shape[1] :]  # behind the question
        return self.processor.decode(tokens, skip_special_tokens=True)


def wait_by_layers(network: Any, device: torch.device) -> None:
    """Sends a network's layers to wait in the computer's memory, from which each comes to `device` for its turn."""
    from accelerate import cpu_offload

    # What is not words comes as a whole: some of it asks its own weights where to put the picture.
    whole = [type(part).__name__ for part in network.base_model.children() if part is not network.get_decoder()]
    cpu_offload(network, device, preload_module_classes=whole)


def as_image(rgb: Tensor, longest_px: int) -> Image.Image:
    """rgb [3, H, W] in [0, 1] as 8 bits, made smaller where its longer side has more than so many pixels."""
    image = Image.fromarray((rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
    share = min(1.0, longest_px / max(image.size))
    width, height = (max(1, round(share * side)) for side in image.size)
    return image if share == 1 else image.resize((width, height), Image.Resampling.LANCZOS)


def check_longest(longest_px: int, key: str = "prompts") -> None:
    """Raises UserError for a picture's size in which nothing could be recognised."""
    expect(f"{key}.longest_px", longest_px, is_whole(longest_px) and longest_px >= 64, "a whole number from 64")


def check_tokens(most_tokens: int, key: str = "prompts") -> None:
    """Raises UserError for an answer's length in which nothing could be said."""
    expect(f"{key}.most_tokens", most_tokens, is_whole(most_tokens) and most_tokens >= 16, "a whole number from 16")


def turns_as_messages(turns: Any, picture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A conversation in the form that chat templates and servers read; the picture goes with the first turn."""
    messages = [{"role": who, "content": [{"type": "text", "text": text}]} for who, text in turns]
    messages[0]["content"].insert(0, dict(picture))
    return messages
