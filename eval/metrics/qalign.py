"""Q-Align (Wu et al. 2023) and its maintained successor Q-ReAlign, by pyiqa's code: a language model's rating.

Q-Align rates from 1 (bad) to 5 (excellent), the paper's scale; Q-ReAlign, as pyiqa gives it, from 0 to 1. One picture
at a time. On a flat equirectangular picture Q-Align comes out 0.25 to 0.95 higher than on perspective views of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from eval.metrics.base import Companion
from eval.metrics.pyiqas_llama import pyiqas_llama
from worldgen.errors import UserError
from worldgen.models.hub import (
    HubWeights,
    device_named,
    eight_bits,
    load_whole,
    missing_package,
    one_of,
    package_versions,
    quiet_transformers,
)

_QALIGN = "q-future/one-align"
_QREALIGN = {"mini": "q-future/Q-ReAlign-Mini-0.8B", "lite": "q-future/Q-ReAlign-Lite-4B"}
_QREALIGN |= {"pro": "q-future/Q-ReAlign-Pro-9B"}
_DOWNLOAD = {"mini": "about 2 GB", "lite": "about 9 GB", "pro": "about 19 GB"}
_QUANTISED = ("8bit", "4bit")  # by bitsandbytes, which puts the network on the GPU itself
_DTYPES = {
    "qalign": ("float16", *_QUANTISED),  # what pyiqa offers
    "qrealign": ("auto", "bfloat16", "float16", "float32"),  # auto = as the weights are stored
}


class QAlign:
    """One task of one of the two models.

    task: quality or aesthetic. model: qalign or qrealign. size: of Q-ReAlign: mini, lite or pro. path: a folder on this
    machine in the hub's layout, instead of the hub's cache. download: whether what is missing may be fetched.
    dtype: see _DTYPES; None = the first one. device: auto (a GPU where there is one), cpu or cuda.
    """

    better = "higher"
    needs = "nothing"
    across_processes = False

    def __init__(
        self,
        task: str = "quality",
        model: str = "qalign",
        size: str = "mini",
        path: str | None = None,
        download: bool = False,
        dtype: str | None = None,
        device: str = "auto",
    ) -> None:
        self.task = one_of(task, ("quality", "aesthetic"), "task")
        self.model = one_of(model, tuple(_DTYPES), "model")
        self.name = f"{model}_{task}"
        key = f"metric.{self.name}"
        self.dtype = one_of(dtype or _DTYPES[model][0], _DTYPES[model], f"{key}.dtype")
        self.device = device_named(device, key)
        one_of(size, tuple(_QREALIGN), f"{key}.size")
        repo, gigabytes = (_QALIGN, "about 16 GB") if model == "qalign" else (_QREALIGN[size], _DOWNLOAD[size])
        self.weights = HubWeights(repo, gigabytes, key, path, download)

    def unavailable(self) -> str | None:
        if self.dtype in _QUANTISED and self.device.type != "cuda":
            return f"metric.{self.name}.dtype: {self.dtype} needs a GPU"
        return missing_package("pyiqa", "transformers") or self.weights.unavailable()

    def versions(self) -> dict[str, str]:
        return package_versions("pyiqa", "transformers") | self.weights.versions() | {"dtype": self.dtype}

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Tensor], companions: Sequence[Companion]) -> list[float]:
        del companions
        network = _load(self.model, self.weights.folder(), self.dtype, self.device)
        with quiet_transformers(), _whole_transformers():
            return [float(network(self._as_read(picture), task_=self.task)) for picture in pictures]

    def _as_read(self, picture: Tensor) -> Tensor:
        """[1, 3, H, W] as from a PNG: pyiqa would round down to eight bits."""
        return (eight_bits(picture)[None] / 255).to(self.device)


@lru_cache(maxsize=1)
def _load(model: str, folder: Path, dtype: str, device: torch.device) -> nn.Module:
    """One network for both tasks. Raises UserError where the folder does not hold it."""
    try:
        with quiet_transformers():
            network = _load_qalign(folder, dtype) if model == "qalign" else _load_qrealign(folder, dtype)
            return (network if dtype in _QUANTISED else network.to(device)).eval()
    except UserError:
        raise
    except Exception as error:  # safetensors, json, OSError: a damaged folder shows itself in many ways
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: cannot be read as {model} ({reason}), wanted the hub's layout") from error


def _load_qrealign(folder: Path, dtype: str) -> nn.Module:
    import transformers
    from pyiqa.archs.qrealign_arch import QReAlign

    network = _from(folder, partial(load_whole, transformers.AutoModelForImageTextToText))
    with patch.object(transformers, "AutoModelForImageTextToText", network):
        return QReAlign(model=str(folder), dtype=dtype)


def _load_qalign(folder: Path, dtype: str) -> nn.Module:
    """pyiqa's network, which names its repository in four places: here all four read our folder."""
    with pyiqas_llama():
        from pyiqa.archs import qalign_arch
        from pyiqa.archs.q_align import modeling_mplug_owl2

        images = _from(folder, qalign_arch.CLIPImageProcessor.from_pretrained)
        # Q-Align was trained on prompts that open with this token. transformers 4 always puts it there, transformers 5
        # only where the folder's tokenizer_config.json asks for it.
        tokenizer = _from(folder, partial(modeling_mplug_owl2.LlamaTokenizer.from_pretrained, add_bos_token=True))
        network = _from(folder, partial(load_whole, qalign_arch.MPLUGOwl2LlamaForCausalLM))
        with (
            patch.multiple(modeling_mplug_owl2, LlamaTokenizer=tokenizer, CLIPImageProcessor=images),
            patch.multiple(qalign_arch, MPLUGOwl2LlamaForCausalLM=network, CLIPImageProcessor=images),
        ):
            return qalign_arch.QAlign(dtype={"float16": "fp16"}.get(dtype, dtype))


def _from(folder: Path, load: Callable[..., Any]) -> Any:
    """Stands in for a class of transformers: its `from_pretrained` loads from `folder`, whatever it is asked for."""

    def from_pretrained(_name: str, **options: Any) -> Any:
        options.pop("trust_remote_code", None)  # the code is pyiqa's or transformers' own
        return load(folder, **options)

    return SimpleNamespace(from_pretrained=from_pretrained)


@contextmanager
def _whole_transformers() -> Iterator[None]:
    """Gives PreTrainedModel back the method that pyiqa's mPLUG-Owl2 calls and transformers 5 has dropped."""
    from transformers import PreTrainedModel

    if hasattr(PreTrainedModel, "invert_attention_mask"):
        yield
        return
    with patch.object(PreTrainedModel, "invert_attention_mask", _inverted_attention_mask, create=True):
        yield


def _inverted_attention_mask(self: Any, mask: Tensor) -> Tensor:
    """1 = look, 0 = do not, [N, K] or [N, Q, K] -> what is added to the scores, [N, 1, 1 or Q, K]."""
    shaped = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    shaped = shaped.to(self.dtype)
    return (1 - shaped) * torch.finfo(self.dtype).min
