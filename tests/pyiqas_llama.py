"""Keeps pyiqa's Q-Align to itself: importing it replaces transformers' Llama for the whole process.

`pyiqa.archs.q_align` puts its own decoder layers and `forward` into transformers' classes, so that every other Llama
loaded afterwards is broken, and its folder in front of `sys.path`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor


@contextmanager
def pyiqas_llama() -> Iterator[None]:
    """Within, transformers' Llama is pyiqa's, as Q-Align has to find it when it is built; afterwards it is its own."""
    from transformers.models.llama import configuration_llama, modeling_llama

    places = (
        (configuration_llama, ("LlamaConfig",)),
        (
            modeling_llama,
            ("LlamaAttention", "LlamaFlashAttention2", "LlamaSdpaAttention", "LlamaDecoderLayer"),
        ),
        (modeling_llama.LlamaModel, ("forward",)),
        (modeling_llama.LlamaForCausalLM, ("forward",)),
    )
    before = [(place, name, vars(place).get(name)) for place, names in places for name in names]
    path = list(sys.path)
    try:
        from pyiqa.archs.q_align import modeling_llama2, modeling_mplug_owl2

        modeling_llama2.replace_llama_modality_adaptive()
        # Looked up on transformers' class otherwise, long after it has got its own back.
        modeling_mplug_owl2.MPLUGOwl2LlamaModel.forward = modeling_llama2.model_forward
        yield
    finally:
        sys.path[:] = path
        for place, name, value in before:
            if value is not None:
                setattr(place, name, value)
            elif name in vars(place):
                delattr(place, name)


@contextmanager
def whole_transformers() -> Iterator[None]:
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
