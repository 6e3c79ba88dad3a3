"""The decoder-only transformer of the paper, in three sizes, two between and one below.

Pre-norm blocks with causal self-attention and a GELU network, as in GPT-2, with learnt positions and with linear maps
in place of the embedding and the unembedding. A prompt (x_1, y_1, x_2, y_2, ...) becomes the tokens x_1, y_1, x_2, y_2,
...; y takes the first of the d coordinates of its token. The prediction of y_i is read at the token of x_i, which sees
x_1, y_1, ..., x_i and nothing later, so one pass gives the prediction at every prefix (Garg et al., arXiv 2208.01066).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from icl_lib._validate import check_count, check_prompts, check_queries

SIZES = {
    "mini": (2, 2, 32),
    "tiny": (3, 2, 64),
    "slim": (6, 2, 64),
    "short": (4, 4, 128),
    "small": (6, 4, 128),
    "standard": (12, 8, 256),
}
"""Layers, heads and width. Mini, slim and short are ours, for what a browser or a CPU can train: less than tiny;
small's depth at tiny's width; small's width at two thirds of its depth. The others are Garg et al.'s; the paper's own
model is standard."""


def size_of(config: TransformerConfig) -> str:
    """The name of a shape's size; "other" if it has none."""
    shape = (config.layers, config.heads, config.width)
    return next((size for size, known in SIZES.items() if known == shape), "other")


INITIALISATIONS = ("paired", "torch", "gpt2")
KIND, PAIR = 0.3, 0.1
"""Standard deviations of what positions share under the initialisation "paired"."""


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a transformer.

    Args:
        dim: dimension d of the inputs.
        max_examples: points (x, y) in the longest prompt; the model has two positions for each.
        layers: number of blocks.
        heads: attention heads per block; divides `width`.
        width: width of the residual stream.

    Raises:
        ValueError: a size that is not a positive integer, or a width that the heads do not divide.
    """

    dim: int
    max_examples: int
    layers: int
    heads: int
    width: int

    def __post_init__(self) -> None:
        for name in ("dim", "max_examples", "layers", "heads", "width"):
            check_count(name, getattr(self, name))
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}"
            )

    @classmethod
    def of_size(cls, size: str, dim: int, max_examples: int) -> TransformerConfig:
        """The configuration called `size`: mini, tiny, slim, short, small or standard."""
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
        return cls(dim, max_examples, *SIZES[size])

    @classmethod
    def mini(cls, dim: int, max_examples: int) -> TransformerConfig:
        """2 layers, 2 heads, width 32: about 0.03 million parameters."""
        return cls.of_size("mini", dim, max_examples)

    @classmethod
    def tiny(cls, dim: int, max_examples: int) -> TransformerConfig:
        """3 layers, 2 heads, width 64: about 0.15 million parameters."""
        return cls.of_size("tiny", dim, max_examples)

    @classmethod
    def slim(cls, dim: int, max_examples: int) -> TransformerConfig:
        """6 layers, 2 heads, width 64: about 0.3 million parameters."""
        return cls.of_size("slim", dim, max_examples)

    @classmethod
    def short(cls, dim: int, max_examples: int) -> TransformerConfig:
        """4 layers, 4 heads, width 128: about 0.8 million parameters."""
        return cls.of_size("short", dim, max_examples)

    @classmethod
    def small(cls, dim: int, max_examples: int) -> TransformerConfig:
        """6 layers, 4 heads, width 128: about 1.2 million parameters."""
        return cls.of_size("small", dim, max_examples)

    @classmethod
    def standard(cls, dim: int, max_examples: int) -> TransformerConfig:
        """12 layers, 8 heads, width 256: about 9.5 million parameters, the paper's size."""
        return cls.of_size("standard", dim, max_examples)


Weights = Float[Tensor, "batch heads tokens seen"]
"""How much tokens attend to what they see: not negative, and one in all."""


class Attention(nn.Module):
    """Multi-head self-attention, without biases."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.project_in = nn.Linear(config.width, 3 * config.width, bias=False)
        self.project_out = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self,
        stream: Float[Tensor, "batch tokens width"],
        earlier: Bool[Tensor, "tokens context"] | None,
    ) -> tuple[Float[Tensor, "batch tokens width"], Weights | None]:
        """Attend causally, or to oneself and to what is `earlier` (True) among the first tokens, the context.

        Returns:
            What is read; and, if there is a context, how much each token attends to each of it and, last, to itself.
        """
        q, k, v = self.project_in(stream).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = None
        if earlier is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            # Tokens that see none of each other need no scores with each other: no square matrix of all tokens.
            context = earlier.shape[1]
            q = q / sqrt(q.shape[-1])
            scores = (q @ k[:, :, :context].mT).masked_fill(~earlier, -inf)  # (B, heads, T, C)
            own = (q * k).sum(-1, keepdim=True)
            weights = torch.cat((scores, own), dim=-1).softmax(-1)
            mixed = weights[..., :-1] @ v[:, :, :context] + weights[..., -1:] * v
        return self.project_out(mixed.transpose(1, 2).flatten(2)), weights


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.network_norm = nn.LayerNorm(config.width)
        self.network_in = nn.Linear(config.width, 4 * config.width)
        self.network_out = nn.Linear(4 * config.width, config.width)

    def forward(
        self,
        stream: Float[Tensor, "batch tokens width"],
        earlier: Bool[Tensor, "tokens context"] | None,
    ) -> tuple[Float[Tensor, "batch tokens width"], Weights | None]:
        read, weights = self.attention(self.attention_norm(stream), earlier)
        stream = stream + read
        hidden = F.gelu(self.network_in(self.network_norm(stream)), approximate="tanh")
        return stream + self.network_out(hidden), weights


class Transformer(nn.Module):
    """Predicts each y of a prompt from the examples before it.

    Args:
        config: the shape; `model.config` keeps it.
        initialisation: "torch", each linear map as PyTorch makes it, by its fan-in, and small random positions.
            "paired", the same but for the input: the map in is twice as large, and a position is what all x or all y
            share plus what the two tokens of a point share. Which token is of which kind, and which two belong
            together, then need not be learnt anew at every position. "gpt2", N(0, 0.02), the maps that write to the
            residual stream shrunk by its depth; that was made for width 768 and is far too small here.

    Raises:
        ValueError: another initialisation.
    """

    card: dict[str, Any] | None = None
    """What `load` read beside the weights, such as recipe, seed, steps, versions, final losses and hash."""

    def __init__(self, config: TransformerConfig, initialisation: str = "paired") -> None:
        super().__init__()
        if initialisation not in INITIALISATIONS:
            raise ValueError(
                f"initialisation must be one of {', '.join(INITIALISATIONS)}, got {initialisation!r}"
            )
        self.config = config
        self.read_in = nn.Linear(config.dim, config.width)
        self.positions = nn.Embedding(2 * config.max_examples, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.read_out = nn.Linear(config.width, 1)
        if initialisation == "gpt2":
            self.apply(self._initialise_as_gpt2)
        elif initialisation == "paired":
            with torch.no_grad():
                self.read_in.weight.mul_(2)
                kind = KIND * torch.randn(2, config.width)
                pair = PAIR * torch.randn(config.max_examples, 1, config.width)
                self.positions.weight.copy_((kind + pair).flatten(0, 1))
        else:
            nn.init.normal_(self.positions.weight, std=0.02)

    def _initialise_as_gpt2(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            for writer in (module.attention.project_out, module.network_out):
                nn.init.normal_(writer.weight, std=0.02 / sqrt(2 * self.config.layers))

    def _check(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> None:
        check_prompts(xs, ys)
        dtype = self.read_in.weight.dtype
        if xs.dtype != dtype:
            raise ValueError(f"the model computes in {dtype}, got xs and ys in {xs.dtype}")
        if xs.shape[2] != self.config.dim:
            raise ValueError(
                f"the model takes inputs of dimension {self.config.dim}, got {xs.shape[2]}"
            )
        if queries is not None:
            check_queries(xs, queries)
        points = xs.shape[1] + (queries is not None)
        if points > self.config.max_examples:
            raise ValueError(
                f"the model has positions for {self.config.max_examples} points, the query included, "
                f"and was trained on no more; got {points}"
            )

    @staticmethod
    def _tokens(
        xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """x_1, y_1, x_2, y_2, ..., each y padded with zeros to d coordinates."""
        padded = F.pad(ys.unsqueeze(-1), (0, xs.shape[-1] - 1))
        return torch.stack((xs, padded), dim=2).flatten(1, 2)

    def forward(
        self, xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"]
    ) -> Float[Tensor, "batch examples"]:
        """Predict y_i from (x_1, y_1, ..., x_i), for every i, in one pass.

        Args:
            xs: inputs (B, n, d), n at most `config.max_examples`.
            ys: values (B, n); the last one is not looked at.

        Returns:
            Predictions (B, n): entry i uses the i examples before it and x_i.

        Raises:
            ValueError: shapes or types that disagree, too many examples, NaN or infinity.
        """
        self._check(xs, ys)
        return self.predictions(self.streams(xs, ys)[-1])

    def streams(
        self, xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"]
    ) -> list[Float[Tensor, "batch tokens width"]]:
        """The residual stream after each block, at the tokens x_1, y_1, ..., x_n.

        Arguments as `forward`; they are not checked, for callers whose prompts are sound.
        """
        tokens = self._tokens(xs, ys)[:, :-1]  # nothing is predicted from the last y
        stream = self.read_in(tokens) + self.positions.weight[: tokens.shape[1]]
        streams = []
        for block in self.blocks:
            stream, _ = block(stream, None)
            streams.append(stream)
        return streams

    def predictions(
        self, stream: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch examples"]:
        """What the stream after the last block predicts for each y, read at the token of its x."""
        return self.read_out(self.norm(stream[:, ::2]))[..., 0]

    def predict_curve(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Float[Tensor, "batch queries"]:
        """Predict f at many queries, each from the same n examples, in one pass over 2n + Q tokens.

        Each query token sees the examples and itself alone, at the position after them, so that the result is that of Q
        plain forward passes over 2n + 1 tokens.

        Args:
            xs: inputs of the examples (B, n, d); n may be 0 and is at most `config.max_examples` - 1.
            ys: their values (B, n).
            queries: where to predict (B, Q, d).

        Returns:
            Predictions (B, Q).

        Raises:
            ValueError: shapes or types that disagree, too many examples, NaN or infinity.
        """
        self._check(xs, ys, queries)
        return self.curve(xs, ys, queries)

    def curve(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Float[Tensor, "batch queries"]:
        """As `predict_curve`, for callers whose prompts are sound: they are not checked."""
        return self._curve(xs, ys, queries, lambda weights: None)

    def attention(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Float[Tensor, "batch layers heads queries seen"]:
        """How much each query attends to the examples and to itself, in each head of each block.

        Args:
            xs: inputs of the examples (B, n, d); n may be 0 and is at most `config.max_examples` - 1.
            ys: their values (B, n).
            queries: where to predict (B, Q, d).

        Returns:
            Weights (B, layers, heads, Q, 2n + 1) on x_1, y_1, ..., x_n, y_n and on the query's own token; they sum to
            one.

        Raises:
            ValueError: as for `predict_curve`.
        """
        self._check(xs, ys, queries)
        return self.attending_curve(xs, ys, queries)[1]

    def attending_curve(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> tuple[Float[Tensor, "batch queries"], Float[Tensor, "batch layers heads queries seen"]]:
        """What `predict_curve` and `attention` return, in one pass; prompts are not checked."""
        attention: list[Tensor] = []
        curve = self._curve(xs, ys, queries, attention.append)
        return curve, torch.stack(attention, dim=1)

    def _curve(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
        told: Callable[[Tensor], object],
    ) -> Float[Tensor, "batch queries"]:
        """The curve; `told` is called with the attention of the queries in each block, (B, heads, Q, 2n + 1)."""
        context = 2 * xs.shape[1]
        tokens = torch.cat((self._tokens(xs, ys), queries), dim=1)
        index = torch.arange(tokens.shape[1], device=tokens.device)
        stream = self.read_in(tokens) + self.positions(index.clamp(max=context))
        earlier = index[None, :context] < index[:, None]
        for block in self.blocks:
            stream, weights = block(stream, earlier)
            told(weights[:, :, context:])
        return self.read_out(self.norm(stream[:, context:]))[..., 0]
