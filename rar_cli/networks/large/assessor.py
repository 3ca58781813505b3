"""Assessor at paper scale: a pretrained language model as IQA core, fed with latents, one forward pass.

Image adapter (a transformer over the tokens of the latent), core (through `inputs_embeds`; nothing
is generated, no text exists), heads, and a text adapter of learned queries that attend to the core's
hidden states (the Q-Former of arXiv 2603.26385). The core learns through LoRA.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from rar_cli.networks.adapters import AssessorParams, ImageAdapter
from rar_cli.networks.assessor import Assessing, present_and_removed
from rar_cli.networks.large.component import SHARED, Component, checked, hint
from rar_cli.types import DEGRADATIONS, Assessment


@dataclass(frozen=True)
class LanguageParams(Component):
    """channels, stem, grid: of the image adapter's first part, as in the small assessor; adapter_*: of its
    transformer; query_*: of the text adapter; each query makes `tokens_per_query` tokens of the condition."""

    kind: str = "language"
    channels: int = 16
    stem: tuple[int, ...] = (128, 256, 512)
    grid: int = 20
    adapter_width: int = 768
    adapter_layers: int = 12
    adapter_heads: int = 12
    queries: int = 77
    tokens_per_query: int = 2
    query_width: int = 768
    query_layers: int = 8
    query_heads: int = 12
    condition_width: int = 4096
    lora_rank: int = 16
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    made_of_blur: ClassVar[int] = 0
    needed_factor: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if "model_type" not in self.config or "hidden_size" not in self.config:
            raise ValueError("assessor: the core's config needs model_type and hidden_size")
        if self.queries < len(DEGRADATIONS):
            raise ValueError(f"assessor: queries must be at least {len(DEGRADATIONS)}, one per degradation")

    @property
    def width(self) -> int:
        """Of the core's hidden states."""
        return int(self.config["hidden_size"])

    @property
    def condition_tokens(self) -> int:
        """Tokens of the condition."""
        return self.queries * self.tokens_per_query

    @property
    def front(self) -> AssessorParams:
        """The first part of the image adapter, which the small assessor has too."""
        return AssessorParams(self.channels, self.stem, self.grid, self.adapter_width, heads=1)


class LanguageAssessor(Assessing):
    """latent -> assessment -> condition; gradients flow from every output to the latent."""

    blur = gain = None

    def __init__(self, params: LanguageParams, pretrained: bool = False, folder: Path | None = None) -> None:
        super().__init__()
        self.params = params
        p = params
        self.image_adapter = ImageAdapter(p.front)
        block = nn.TransformerEncoderLayer(
            p.adapter_width, p.adapter_heads, 4 * p.adapter_width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(block, p.adapter_layers, enable_nested_tensor=False)
        self.into_core = nn.Linear(p.adapter_width, p.width)
        self.core = _component(params, pretrained, folder)
        self.queries = nn.Parameter(0.02 * torch.randn(1 + len(DEGRADATIONS), p.width))
        self.heads = nn.Linear(p.width, 1)
        self.severity_heads = nn.Parameter(0.02 * torch.randn(len(DEGRADATIONS), p.width))
        self.severity_bias = nn.Parameter(torch.full((len(DEGRADATIONS),), -1.5))
        self.text_adapter = QueryAdapter(params)

    def assess(self, latent: Tensor, tile: int | None = None) -> Assessment:
        """latent (b, c, h, w) -> its assessment; see the small `Assessor.assess`."""
        tokens, _ = self.image_adapter(latent, tile)
        seen = self.into_core(self.encoder(tokens))
        queries = self.queries.expand(seen.shape[0], -1, -1)
        inputs = torch.cat([seen, queries], dim=1).to(self._core_dtype)
        output = self.core(inputs_embeds=inputs, attention_mask=causal(inputs), use_cache=False)
        hidden = output.last_hidden_state.to(queries.dtype)
        answers = hidden[:, -queries.shape[1] :]
        score = 100.0 * torch.sigmoid(self.heads(answers[:, 0]).squeeze(-1).float())
        logits = (answers[:, 1:] * self.severity_heads).sum(-1).float() + self.severity_bias
        severities = torch.sigmoid(logits)
        return Assessment(score, severities, hidden[:, None], severities[:, None])

    def condition(
        self, assessment: Assessment, remove: Tensor | None = None, severities: Tensor | None = None
    ) -> Tensor:
        """An assessment of b pictures -> condition (b, n, d); see `Assessing.condition`."""
        assert assessment.hidden is not None
        assert assessment.by_view is not None
        hidden = rearrange(assessment.hidden, "b f m d -> (b f) m d")
        condition: Tensor = self.text_adapter(hidden, *present_and_removed(assessment.by_view, remove, severities))
        return condition

    @property
    def _core_dtype(self) -> torch.dtype:
        return next(p.dtype for p in self.core.parameters() if p.is_floating_point())

    def let_learn(self, on: bool) -> None:
        """Let adapters, heads and LoRA learn; the core's own weights stay."""
        self.requires_grad_(on)
        for name, parameter in self.core.named_parameters():
            parameter.requires_grad_(on and "lora_" in name)

    def add_lora(self) -> None:
        """Give the core its low-rank adapters; training alone needs them."""
        try:
            import peft
        except ImportError as error:
            raise hint("peft", error) from error
        rank = self.params.lora_rank
        config = peft.LoraConfig(
            r=rank, lora_alpha=rank, target_modules=list(self.params.lora_targets), lora_dropout=0.0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
            self.core = peft.get_peft_model(self.core, config)

    def checkpoint_gradients(self) -> None:
        """Trade compute for memory in training."""
        core = self.core
        enable = getattr(core, "activation_checkpointing_enable", None) or core.gradient_checkpointing_enable
        enable()

    def save_component(self, folder: Path) -> None:
        """Write the core in its public folder form, with what LoRA learned merged in."""
        core = self.core
        if hasattr(core, "merge_and_unload"):
            core = copy.deepcopy(core).merge_and_unload()
        core.save_pretrained(folder / "core", safe_serialization=True)


class QueryAdapter(nn.Module):
    """Hidden states of the core -> condition tokens: learned queries that attend to them.

    The first queries are those of the degradations; each knows the severity found and the
    severity to remove, which is how steering reaches the restorer.
    """

    def __init__(self, params: LanguageParams) -> None:
        super().__init__()
        width = params.query_width
        self.tokens_per_query = params.tokens_per_query
        self.queries = nn.Parameter(0.02 * torch.randn(params.queries, width))
        self.asked = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.hidden = nn.Linear(params.width, width)
        block = nn.TransformerDecoderLayer(
            width, params.query_heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(block, params.query_layers)
        self.leave = nn.Linear(width, params.tokens_per_query * params.condition_width)

    def forward(self, hidden: Tensor, present: Tensor, remove: Tensor) -> Tensor:
        """hidden (b, m, w), severities (b, degradations) twice -> (b, queries * tokens_per_query, d)."""
        queries = self.queries.expand(hidden.shape[0], -1, -1)
        named, free = queries[:, : len(DEGRADATIONS)], queries[:, len(DEGRADATIONS) :]
        named = named + self.asked(torch.stack([present, remove], dim=-1).to(named.dtype))
        mixed = self.decoder(torch.cat([named, free], dim=1), self.hidden(hidden))
        return rearrange(self.leave(mixed), "b q (k d) -> b (q k) d", k=self.tokens_per_query)


def causal(tokens: Tensor) -> Tensor:
    """Mask (1, 1, n, n) of tokens (b, n, d). Given one, `transformers` does not look into its inputs,
    which would wait for a GPU in every round."""
    n = tokens.shape[1]
    return torch.ones(1, 1, n, n, dtype=torch.bool, device=tokens.device).tril()


def _component(params: LanguageParams, pretrained: bool, folder: Path | None) -> Any:
    try:
        from transformers import AutoConfig, AutoModel
        from transformers.utils import logging
    except ImportError as error:
        raise hint("transformers", error) from error
    if folder is None and not (pretrained and params.pretrained):
        config: Any = AutoConfig.for_model(**params.config)
        build: Any = AutoModel.from_config
        return build(config).to(params.torch_dtype)
    source, where = params.source(None if folder is None else folder / "core")
    options = {k: v for k, v in SHARED.items() if k != "low_cpu_mem_usage"}
    loud, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it would report the language head, which is not wanted here, as unexpected
    logging.disable_progress_bar()
    try:
        return checked(AutoModel.from_pretrained(source, dtype=params.torch_dtype, **where, **options), source)
    finally:
        logging.set_verbosity(loud)
        if bars:
            logging.enable_progress_bar()
