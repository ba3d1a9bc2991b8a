"""Networks of the hub that are shown a picture and answer with text: loaded, asked, released.

transformers' image-text-to-text classes, by the class that the checkpoint names. What is asked and what the answer is
good for are the adapters' matter (`vlm.py`, `caption.py`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from worldgen.errors import UserError, expect
from worldgen.models.hub import HubWeights, load_whole, missing_package, package_versions, quiet_transformers

if TYPE_CHECKING:
    from worldgen.models.runtime import Runtime

_PACKAGES = ("transformers", "accelerate", "torchvision")


@dataclass
class VisionLanguage:
    """One network and the processor that goes with it.

    model: owner/name on the hub; size: of a download, for people. path: a folder in the hub's layout, instead.
    download: whether what is missing may be fetched. longest_px: of the picture's longer side as it is shown to the
    network, which may make it smaller still. most_tokens: of one answer.
    """

    model: str
    size: str
    path: str | None = None
    download: bool = False
    longest_px: int = 1024
    most_tokens: int = 512
    key: ClassVar[str] = "prompts"  # of the config, for messages
    _network: Any = field(default=None, init=False, repr=False)
    _processor: Any = field(default=None, init=False, repr=False)
    _device: Any = field(default=None, init=False, repr=False)  # where it computes; layers that wait are elsewhere

    def __post_init__(self) -> None:
        check_longest(self.longest_px, self.key)
        check_tokens(self.most_tokens, self.key)

    @property
    def checkpoint(self) -> HubWeights:
        """The checkpoint."""
        return HubWeights(self.model, self.size, self.key, self.path, self.download)

    @property
    def weights(self) -> Sequence[HubWeights]:
        """All that is loaded from the hub."""
        return (self.checkpoint,)

    def unavailable(self) -> str | None:
        """Why it cannot be loaded, in one line; None where it can."""
        return missing_package(*_PACKAGES, extra="paper") or self.checkpoint.unavailable()

    def versions(self) -> dict[str, str]:
        """Of the packages and of the checkpoint."""
        return package_versions("transformers") | self.checkpoint.versions()

    @property
    def processor(self) -> Any:
        """What makes numbers of pictures and words, once it is loaded."""
        assert self._processor is not None, f"{type(self).__name__} is called before it is loaded"
        return self._processor

    def load(self, runtime: Runtime) -> None:
        """From the hub's cache or a folder. Raises UserError where that is not there, not whole, or another thing."""
        if self._network is not None:
            return
        if reason := missing_package(*_PACKAGES, extra="paper"):
            raise UserError(reason)
        device, offload = runtime.torch_device, runtime.offload
        expect(
            "runtime.offload", offload, offload == "none" or device.type != "cpu", "none (networks run on a CPU here)"
        )
        folder = self.checkpoint.folder()
        with quiet_transformers(), _enough_memory(self.key), _one_line(f"{self.key}: {folder}"):
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
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.no_grad()
    def answer(self, inputs: Any, **options: Any) -> str:
        """What the network says to the processor's inputs, always the same. options: of transformers' `generate`."""
        network = self._network
        assert network is not None, f"{type(self).__name__} is called before it is loaded"
        with quiet_transformers(), _enough_memory(self.key):
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
    expect(f"{key}.longest_px", longest_px, _whole(longest_px) and longest_px >= 64, "a whole number from 64")


def check_tokens(most_tokens: int, key: str = "prompts") -> None:
    """Raises UserError for an answer's length in which nothing could be said."""
    expect(f"{key}.most_tokens", most_tokens, _whole(most_tokens) and most_tokens >= 16, "a whole number from 16")


def turns_as_messages(turns: Any, picture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A conversation in the form that chat templates and servers read; the picture goes with the first turn."""
    messages = [{"role": who, "content": [{"type": "text", "text": text}]} for who, text in turns]
    messages[0]["content"].insert(0, dict(picture))
    return messages


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Loading ends as it should or in a UserError of one line."""
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers has no exception of its own for all that a folder may lack
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"{what}: cannot be loaded as an image-text-to-text model: {reason[:200]}") from error


@contextmanager
def _enough_memory(key: str) -> Iterator[None]:
    """Turns a GPU's lack of memory into a UserError that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        wanted = f"runtime.offload=sequential, a smaller {key}.longest_px or {key}.model"
        raise UserError(f"{key}: out of GPU memory, wanted {wanted}") from error
