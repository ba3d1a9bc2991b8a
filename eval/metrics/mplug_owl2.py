"""The network of Q-Align: mPLUG-Owl2 (Ye et al. 2023), as far as one answer to one picture needs it.

A vision transformer sees the picture, an abstractor reads its tokens into a few, and a Llama whose norms, keys and
values have weights of their own for the picture's tokens says which word comes next. Modules are named as the weights
of `q-future/one-align` are. pyiqa's copy of the authors' code replaces transformers' Llama for the whole process;
tests/test_qalign.py holds this one to it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Config = Mapping[str, Any]

_EYES: Config = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
_ABSTRACTOR: Config = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_learnable_queries": 64,
    "encoder_hidden_size": 1024,
    "grid_size": 32,
    "layer_norm_eps": 1e-6,
}
_LLAMA: Config = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}


class _Parts(nn.Module):
    """Modules, parameters and buffers by the names of the weights."""

    def __init__(self, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    if TYPE_CHECKING:  # torch's own says Tensor | Module

        def __getattr__(self, name: str) -> Any: ...


class MplugOwl2(_Parts):
    """config: of the hub's config.json; what it leaves out is as in the authors' code."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        llama = _merged(_LLAMA, config, config.get("rope_parameters") or {})
        visual = config.get("visual_config") or {}
        eyes = _merged(_EYES, visual.get("visual_model", {}))
        abstractor = _merged(_ABSTRACTOR, visual.get("visual_abstractor", {}))
        self.model = _Parts(
            embed_tokens=nn.Embedding(llama["vocab_size"], llama["hidden_size"]),
            layers=nn.ModuleList(_LlamaLayer(llama) for _ in range(llama["num_hidden_layers"])),
            norm=_RmsNorm(llama["hidden_size"], llama["rms_norm_eps"]),
            vision_model=_Eyes(eyes),
            visual_abstractor=_Abstractor(abstractor, llama["hidden_size"]),
        )
        self.lm_head = nn.Linear(llama["hidden_size"], llama["vocab_size"], bias=False)
        self._head_dim, self._rope_theta = llama["hidden_size"] // llama["num_attention_heads"], llama["rope_theta"]

    def forward(self, pixels: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """pixels: [1, 3, S, S], as the folder's image processor makes them; before, after: token ids [N] and [M] of the
        text round the picture -> logits of the next token, [vocabulary]."""
        seen = self.model.visual_abstractor(self.model.vision_model(pixels))[0]
        embed = self.model.embed_tokens
        tokens = torch.cat([embed(before), seen, embed(after)])[None]
        picture = slice(len(before), len(before) + len(seen))
        turns = _turns(tokens.shape[1], self._head_dim, self._rope_theta, tokens)
        for layer in self.model.layers:
            tokens = layer(tokens, picture, turns)
        return self.lm_head(self.model.norm(tokens[0, -1]))


class _Eyes(_Parts):
    """The vision transformer: [1, 3, S, S] -> [1, 1 + patches, C]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, patch, eps = config["hidden_size"], config["patch_size"], config["layer_norm_eps"]
        patches = (config["image_size"] // patch) ** 2
        self.embeddings = _Parts(
            cls_token=nn.Parameter(torch.zeros(1, 1, width)),
            position_embedding=nn.Parameter(torch.zeros(1, patches + 1, width)),
            patch_embed=nn.Conv2d(3, width, patch, patch, bias=False),
            pre_layernorm=nn.LayerNorm(width, eps),
        )
        self.encoder = _Parts(layers=nn.ModuleList(_EyesLayer(config) for _ in range(config["num_hidden_layers"])))
        self.post_layernorm = nn.LayerNorm(width, eps)

    def forward(self, pixels: Tensor) -> Tensor:
        parts = self.embeddings
        patches = parts.patch_embed(pixels).flatten(2).transpose(1, 2)
        tokens = parts.pre_layernorm(torch.cat([parts.cls_token, patches], dim=1) + parts.position_embedding)
        for layer in self.encoder.layers:
            tokens = layer(tokens)
        return self.post_layernorm(tokens)


class _EyesLayer(_Parts):
    def __init__(self, config: Config) -> None:
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.self_attn = _Parts(query_key_value=nn.Linear(width, 3 * width), dense=nn.Linear(width, width))
        self.mlp = _Parts(fc1=nn.Linear(width, inner), fc2=nn.Linear(inner, width))
        self.input_layernorm = nn.LayerNorm(width, eps)
        self.post_attention_layernorm = nn.LayerNorm(width, eps)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.self_attn.query_key_value(self.input_layernorm(tokens))
        query, key, value = mixed.unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)  # head by head: q, k, v
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.self_attn.dense(attended)
        inner = self.mlp.fc1(self.post_attention_layernorm(tokens))
        return tokens + self.mlp.fc2(inner * torch.sigmoid(1.702 * inner))


class _Abstractor(_Parts):
    """Learnt queries read the picture's tokens: [1, N, C] -> [1, queries + 1, width of the Llama]."""

    def __init__(self, config: Config, llama_width: int) -> None:
        super().__init__()
        self.query_embeds = nn.Parameter(torch.zeros(1, config["num_learnable_queries"], config["hidden_size"]))
        self.vit_eos = nn.Parameter(torch.zeros(1, 1, llama_width))
        self.visual_fc = nn.Linear(config["hidden_size"], llama_width)
        layers = [_Parts(crossattention=_AbstractorLayer(config)) for _ in range(config["num_hidden_layers"])]
        self.encoder = _Parts(layers=nn.ModuleList(layers))

    def forward(self, seen: Tensor) -> Tensor:
        queries = self.query_embeds
        for layer in self.encoder.layers:
            queries = layer.crossattention(queries, seen)
        return torch.cat([self.visual_fc(queries), self.vit_eos], dim=1)


class _AbstractorLayer(_Parts):
    """The queries attend to themselves and to the picture. The places of both lie among the weights."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, inner, source = config["hidden_size"], config["intermediate_size"], config["encoder_hidden_size"]
        self.heads = config["num_attention_heads"]
        self.norm1, self.normk = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Parts(
            query=nn.Linear(width, width), key=nn.Linear(source, width), value=nn.Linear(source, width)
        )
        self.attention.register_buffer("q_pos_embed", torch.zeros(config["num_learnable_queries"], width))
        self.attention.register_buffer("k_pos_embed", torch.zeros(config["grid_size"] ** 2 + 1, width))
        mlp = _Parts(
            w1=nn.Linear(width, inner),
            w2=nn.Linear(inner, width),
            w3=nn.Linear(width, inner),
            ffn_ln=nn.LayerNorm(inner, config["layer_norm_eps"]),
        )
        self.output = _Parts(out_proj=nn.Linear(width, width), norm2=nn.LayerNorm(width), mlp=mlp)

    def forward(self, queries: Tensor, seen: Tensor) -> Tensor:
        parts, mlp = self.attention, self.output.mlp
        queries = self.norm1(queries)
        both = torch.cat([queries, self.normk(seen)], dim=1)
        places = torch.cat([parts.q_pos_embed, parts.k_pos_embed])
        query = _heads(parts.query(queries + parts.q_pos_embed), self.heads)
        key, value = _heads(parts.key(both + places), self.heads), _heads(parts.value(both), self.heads)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        queries = queries + self.output.out_proj(attended)
        inner = self.output.norm2(queries)
        return queries + mlp.w2(mlp.ffn_ln(F.silu(mlp.w1(inner)) * mlp.w3(inner)))


class _LlamaLayer(_Parts):
    def __init__(self, config: Config) -> None:
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["rms_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.key_heads = config["num_key_value_heads"] or self.heads
        narrow = width // self.heads * self.key_heads

        def linear(inputs: int, outputs: int) -> nn.Linear:
            return nn.Linear(inputs, outputs, bias=False)

        self.self_attn = _Parts(
            q_proj=linear(width, width),
            k_proj=_Multiway(lambda: linear(width, narrow)),
            v_proj=_Multiway(lambda: linear(width, narrow)),
            o_proj=linear(width, width),
        )
        self.mlp = _Parts(gate_proj=linear(width, inner), up_proj=linear(width, inner), down_proj=linear(inner, width))
        self.input_layernorm = _Multiway(lambda: _RmsNorm(width, eps))
        self.post_attention_layernorm = _Multiway(lambda: _RmsNorm(width, eps))

    def forward(self, tokens: Tensor, picture: slice, turns: tuple[Tensor, Tensor]) -> Tensor:
        inner = self.input_layernorm(tokens, picture)
        query = _turned(_heads(self.self_attn.q_proj(inner), self.heads), turns)
        key = _turned(_heads(self.self_attn.k_proj(inner, picture), self.key_heads), turns)
        value = _heads(self.self_attn.v_proj(inner, picture), self.key_heads)
        groups = self.heads // self.key_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        tokens = tokens + self.self_attn.o_proj(attended)
        inner = self.post_attention_layernorm(tokens, picture)
        return tokens + self.mlp.down_proj(F.silu(self.mlp.gate_proj(inner)) * self.mlp.up_proj(inner))


class _Multiway(_Parts):
    """Two modules of one kind: the first for text, the second for the picture's tokens."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.multiway = nn.ModuleList([make(), make()])

    def forward(self, tokens: Tensor, picture: slice) -> Tensor:
        text, seen = self.multiway
        parts = tokens[:, : picture.start], tokens[:, picture], tokens[:, picture.stop :]
        return torch.cat([text(parts[0]), seen(parts[1]), text(parts[2])], dim=1)


class _RmsNorm(nn.Module):
    """Zhang and Sennrich 2019, in float32 whatever the network is."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, tokens: Tensor) -> Tensor:
        wide = tokens.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(tokens.dtype)


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """[1, N, C] -> [1, heads, N, C / heads]."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _turns(count: int, width: int, theta: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary places (Su et al. 2021), [count, width] each."""
    steps = theta ** -(torch.arange(0, width, 2, device=like.device).float() / width)
    angles = torch.arange(count, device=like.device).float()[:, None] * steps.repeat(2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _turned(heads: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """[1, heads, N, D], its halves turned against each other."""
    first, second = heads.chunk(2, dim=-1)
    return heads * turns[0] + torch.cat([-second, first], dim=-1) * turns[1]


def _merged(defaults: Config, *configs: Config) -> Config:
    """The defaults with what the configs say of them, the last one first."""
    known = [{name: value for name, value in config.items() if name in defaults} for config in configs]
    return {name: value for config in (defaults, *known) for name, value in config.items()}
