"""Vision-language models of random weights in the model hub's layout: everything is there but the training."""

from pathlib import Path

import torch

from worldgen.models.loading import quiet_transformers

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}{{ picture }}{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TURNS = ("<|im_start|>", "<|im_end|>")


def save_tiny_qwen(folder: Path) -> Path:
    """Qwen3-VL, as `Qwen/Qwen3-VL-8B-Instruct` lies on the hub."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    special = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    words = _tokenizer("<|endoftext|>", *_TURNS, *special.values())
    sizes = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}  # in pixels of the whole picture
    images = Qwen2VLImageProcessor(patch_size=8, size=sizes)
    chat = _CHAT.replace("{{ picture }}", "<|vision_start|><|image_pad|><|vision_end|>")
    Qwen3VLProcessor(images, words, Qwen3VLVideoProcessor(patch_size=8), chat_template=chat).save_pretrained(folder)
    config = Qwen3VLConfig(
        text_config=_decoder(len(words))
        | {"head_dim": 16, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        **{key: words.convert_tokens_to_ids(token) for key, token in special.items()},
    )
    return _saved(Qwen3VLForConditionalGeneration, config, folder)


def save_tiny_llama(folder: Path) -> Path:
    """Llama 3.2 Vision, as `meta-llama/Llama-3.2-11B-Vision-Instruct` lies on the hub."""
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessor, MllamaProcessor

    words = _tokenizer("<|end_of_text|>", "<|begin_of_text|>", "<|python_tag|>", "<|finetune_right_pad_id|>", *_TURNS)
    words.add_special_tokens({"bos_token": "<|begin_of_text|>", "pad_token": "<|finetune_right_pad_id|>"})
    known = len(words)  # the picture's token comes behind all words that can be said
    words.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    images = MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=4)
    MllamaProcessor(images, words, chat_template=_CHAT.replace("{{ picture }}", "<|image|>")).save_pretrained(folder)
    config = MllamaConfig(
        text_config=_decoder(known)
        | {
            "cross_attention_layers": [1],
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "intermediate_layers_indices": [0, 1],
            "vision_output_dim": 96,
        },
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    return _saved(MllamaForConditionalGeneration, config, folder)


def save_tiny_florence(folder: Path) -> Path:
    """Florence-2, as `florence-community/Florence-2-large` lies on the hub."""
    from transformers import CLIPImageProcessor, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor

    names = {"bos_token": "<s>", "pad_token": "<pad>", "extra_special_tokens": {"image_token": "<image>"}}
    words = _tokenizer("</s>", **names)
    images = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    Florence2Processor(images, words).save_pretrained(folder)
    config = Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(words),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            "decoder_start_token_id": words.eos_token_id,
            "forced_eos_token_id": words.eos_token_id,
        },
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 8, 16, 16],
            "num_heads": [1, 1, 2, 2],
            "num_groups": [1, 1, 2, 2],
            "window_size": 4,
            "projection_dim": 32,
        },
        image_token_id=words.image_token_id,
    )
    beams = {
        "num_beams": 3,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "forced_bos_token_id": words.bos_token_id,
    }
    return _saved(Florence2ForConditionalGeneration, config, folder, **beams, min_new_tokens=8)


def _decoder(vocabulary: int) -> dict:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 8192,
    }


def _tokenizer(end: str, *special: str, **names):
    """One word for every byte, and special ones, of which some have names."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    more = {"additional_special_tokens": list(special)} if special else {}
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, **more, **names)


def _saved(kind: type, config, folder: Path, **generation) -> Path:
    torch.manual_seed(0)
    network = kind(config)
    for name, parameter in network.named_parameters():
        if parameter.dim() >= 2:  # random weights as they come answer everything alike; larger ones do not
            parameter.data *= 6
        elif name.endswith("gate"):  # closed as it comes: the picture would not reach the words
            parameter.data += 1
    # Models that chat ask for chance, which no prompter may take.
    network.generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.8, **generation)
    with quiet_transformers():
        network.save_pretrained(folder)
    return folder
