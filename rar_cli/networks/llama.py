"""IQA core: a decoder of Llama's kind over embeddings (Touvron et al., arXiv 2302.13971), nothing generated.

Its parameters have the names, shapes and starting values of `transformers.LlamaModel`, so that weights move freely
between the two; the tests hold them to equal outputs. `transformers` itself takes longer to import than all else that
`rar assess` does; the assessor of paper scale (`large`) uses it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

EPSILON, THETA, SPREAD = 1e-6, 10_000.0, 0.02
"""Of the RMS norms; base of the rotary positions; standard deviation of starting weights."""


class Llama(nn.Module):
    """Decoder layers and a last norm: tokens (b, n, width) -> (b, n, width), each seeing those before it."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width, EPSILON)
        self.head_width = width // heads
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=SPREAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (b, n, width) -> the same shape."""
        turns = rotations(tokens.shape[1], self.head_width, tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, turns)
        normed: Tensor = self.norm(tokens)
        return normed


class DecoderLayer(nn.Module):
    """Attention and a gated MLP, each on normed tokens and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(width, EPSILON)
        self.self_attn = Attention(width, heads)
        self.post_attention_layernorm = nn.RMSNorm(width, EPSILON)
        self.mlp = GatedMLP(width)

    def forward(self, tokens: Tensor, turns: Tensor) -> Tensor:
        """tokens (b, n, width), turns (2, n, width / heads) -> the same shape as tokens."""
        tokens = tokens + self.self_attn(self.input_layernorm(tokens), turns)
        added: Tensor = tokens + self.mlp(self.post_attention_layernorm(tokens))
        return added


class Attention(nn.Module):
    """Causal self-attention with rotary positions (Su et al., arXiv 2104.09864)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, tokens: Tensor, turns: Tensor) -> Tensor:
        """tokens (b, n, width), turns (2, n, width / heads) -> the same shape as tokens."""
        projected = (self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens))
        query, key, value = (rearrange(x, "b n (h d) -> b h n d", h=self.heads) for x in projected)
        seen = F.scaled_dot_product_attention(turned(query, turns), turned(key, turns), value, is_causal=True)
        out: Tensor = self.o_proj(rearrange(seen, "b h n d -> b n (h d)"))
        return out


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer, arXiv 2002.05202), twice as wide within."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, 2 * width, bias=False)
        self.up_proj = nn.Linear(width, 2 * width, bias=False)
        self.down_proj = nn.Linear(2 * width, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (..., width) -> the same shape."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(tokens)) * self.up_proj(tokens))
        return out


def rotations(length: int, head_width: int, device: torch.device) -> Tensor:
    """Cosines and sines (2, length, head_width) of the rotary positions, float32."""
    rates = THETA ** -(torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), rates)
    angles = torch.cat([angles, angles], dim=-1)
    return torch.stack([angles.cos(), angles.sin()])


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """x (b, heads, n, d) with the halves of each head's features turned against each other by position."""
    cosine, sine = turns.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine
