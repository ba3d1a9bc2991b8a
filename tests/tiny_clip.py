"""A CLIP of random weights in the model hub's layout: everything is there but the training."""

import json
from pathlib import Path

import torch


def save_tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Pictures of 32 x 32, texts of at most 12 tokens, 16 numbers an embedding."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    tokens += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    end = len(tokens) + 1  # CLIP finds a text's end by its largest token
    vocabulary = {token: index for index, token in enumerate(tokens)}
    vocabulary["<|endoftext|>"], vocabulary["<|startoftext|>"] = end, end - 1
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=12).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)

    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": end + 1, "max_position_embeddings": 12, "bos_token_id": end - 1, "eos_token_id": end}
    config = CLIPConfig(
        text_config=common | text | {"pad_token_id": end},
        vision_config=common | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    torch.manual_seed(seed)
    network = CLIPModel(config)
    for parameter in network.parameters():  # random weights as they come answer everything alike; larger ones do not
        if parameter.dim() >= 2:
            parameter.data *= 6
    with torch.no_grad():
        answer = network(input_ids=torch.tensor([[end - 1, 2, end]]), pixel_values=torch.zeros(1, 3, 32, 32))
        network.text_projection.weight *= (
            answer.logits_per_image.sign().item()
        )  # texts fit pictures, not their negatives
    network.save_pretrained(folder)
    return folder
