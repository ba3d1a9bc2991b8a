"""Q-Align and Q-ReAlign of random weights in the model hub's layout: everything is there but the training."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import nn

_TEXT = [
    "USER: How would you rate the quality of this image? ASSISTANT: The quality of the image is",
    "USER: How would you rate the aesthetic of this image? ASSISTANT: The aesthetic of the image is",
    "Can you rate the quality of this picture? user assistant excellent good fair poor bad",
]
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_qalign(folder: Path) -> nn.Module:
    """mPLUG-Owl2 for pictures of 28 x 28, as `q-future/one-align` lies on the hub. Returns the network as it was built,
    which knows its tokenizer, for comparison with the one that is loaded."""
    from transformers import CLIPImageProcessor, LlamaTokenizer

    from tests.pyiqas_llama import pyiqas_llama
    from worldgen.models.loading import quiet_transformers

    folder.mkdir(parents=True, exist_ok=True)
    pieces = _save_sentencepiece(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    images.save_pretrained(folder)
    eyes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with quiet_transformers(), pyiqas_llama():
        from pyiqa.archs.q_align import modeling_mplug_owl2 as owl

        config = owl.MPLUGOwl2Config(
            vocab_size=pieces,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            visual_config={
                "visual_model": eyes | {"image_size": 28, "patch_size": 14},
                "visual_abstractor": eyes | {"num_learnable_queries": 4, "encoder_hidden_size": 16, "grid_size": 2},
            },
        )
        config._attn_implementation = "eager"
        torch.manual_seed(0)
        network = _built(owl, config, LlamaTokenizer.from_pretrained(folder, add_bos_token=True), images)
    network.half().eval().save_pretrained(folder)
    return network


def save_tiny_qrealign(folder: Path) -> None:
    """Qwen3.5-VL with one layer of each kind, as `q-future/Q-ReAlign-Mini-0.8B` lies on the hub."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3_5Config,
        Qwen3_5ForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = _qwen_tokenizer()
    size = {"patch_size": 8, "min_pixels": 32 * 32, "max_pixels": 64 * 64}
    images = Qwen2VLImageProcessor(**size)
    Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=_CHAT).save_pretrained(folder)
    special = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    config = Qwen3_5Config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [3, 3, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
        },
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in special.items()},
    )
    torch.manual_seed(0)
    network = Qwen3_5ForConditionalGeneration(config)
    _louder(network)
    network.save_pretrained(folder)


def _built(owl, config, tokenizer, images) -> nn.Module:
    """pyiqa's network, which asks the hub for its tokenizer while it is built."""

    def instead(thing):
        return SimpleNamespace(from_pretrained=lambda *_, **__: thing)

    with patch.multiple(owl, LlamaTokenizer=instead(tokenizer), CLIPImageProcessor=instead(images)):
        network = owl.MPLUGOwl2LlamaForCausalLM(config)
    _louder(network)
    return network


def _louder(network: nn.Module) -> None:
    """Random weights as they come answer every picture alike; larger ones do not."""
    for parameter in network.parameters():
        if parameter.dim() >= 2:
            parameter.data *= 6


def _save_sentencepiece(folder: Path) -> int:
    """A Llama tokenizer that knows the prompts' words; returns how many pieces it has."""
    import sentencepiece

    (folder / "text").write_text("\n".join(_TEXT * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",  # as Llama's: the prompt's line breaks count
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "text").unlink()
    (folder / "tokenizer.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "legacy": False}))
    return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model")).get_piece_size()


def _qwen_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers.models.qwen3_5.tokenization_qwen3_5 import Qwen3_5Tokenizer

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(_TEXT * 20, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    learnt = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    vocabulary = learnt["vocab"] | {"<|endoftext|>": len(learnt["vocab"])}
    return Qwen3_5Tokenizer(vocab=vocabulary, merges=merges, additional_special_tokens=special)
