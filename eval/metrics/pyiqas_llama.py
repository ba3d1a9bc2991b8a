"""Keeps pyiqa's Q-Align to itself: importing it replaces transformers' Llama for the whole process.

`pyiqa.archs.q_align` puts its own decoder layers and `forward` into transformers' classes, so that every other Llama
loaded afterwards is broken, and its folder in front of `sys.path`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
