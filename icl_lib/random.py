"""Counter-based random numbers: each number is a function of its address, of nothing else.

A prompt must be the same prompt in a batch of 64 and in a batch of 1,280, with 10 examples and with 40, on a CPU and on
a GPU. A sequential generator cannot promise that. Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011) can: it is a bijection of a 128-bit counter under a 64-bit key, here

    key     = seed (64 bits)
    counter = (index of the number // 4, prompt, stream, step)

where a stream is one quantity of one function class: the inputs, a weight vector, an amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# Streams per node of the tree of function classes: one byte of the stream word per level, two of its four levels for
# the classes that hold others.
_CHILDREN = 256
SEEDS = 2**32
"""Seeds accepted from a user are integers in [0, SEEDS)."""


def _multiply(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of the 64-bit product of two 32-bit words held in int64."""
    product = word * constant  # may wrap into the sign bit, which the mask after the shift removes
    return (product >> 32) & _WORD, product & _WORD


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor],
    key: tuple[int | Int[Tensor, ""], int | Int[Tensor, ""]],
) -> Int[Tensor, ...]:
    """Philox4x32-10.

    Args:
        counter: four int64 tensors of 32-bit words that broadcast against each other.
        key: two 32-bit words.

    Returns:
        The four output words, stacked in a new last axis of length 4.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), dim=-1)


@dataclass(frozen=True)
class Draws:
    """The random numbers that belong to one batch of prompts and one node of a tree of function classes.

    A node gives its numbers once. Asked again it would give the same, and two quantities that were meant to be
    independent would be equal: that is refused.

    Args:
        seed: the key, in [0, 2**64); in a graph, where it is an input, a tensor.
        step: the training step or batch number, in [0, 2**32); likewise.
        batch_size: number of prompts.
        device: where the numbers are made.
        stream: address of the node; `child` makes new ones.
        spent: the addresses of this tree whose numbers have been given.
    """

    seed: int | Int[Tensor, ""]
    step: int | Int[Tensor, ""]
    batch_size: int
    device: torch.device | str = "cpu"
    stream: int = 0
    spent: set[int] = field(default_factory=set, repr=False, compare=False)

    def child(self, index: int) -> Draws:
        """The numbers of the node's child `index`, independent of the node's own and of its siblings'."""
        if not 0 <= index < _CHILDREN - 1:
            raise ValueError(f"a mixture has at most {_CHILDREN - 2} classes, got more")
        stream = self.stream * _CHILDREN + index + 1
        if stream > _WORD:
            raise ValueError("mixtures and combinations nest at most two deep, got more")
        return replace(self, stream=stream)

    def _words(self, count: int) -> Int[Tensor, "batch count"]:
        if self.stream in self.spent:
            raise ValueError(
                "these random numbers have been drawn before, and would come out the same: draw all at once, as in "
                "a, b = draws.normal(2).unbind(-1), or take draws.child(0), draws.child(1), ... for each quantity"
            )
        self.spent.add(self.stream)
        blocks = torch.arange(-(-count // 4), device=self.device)[None, :]
        prompts = torch.arange(self.batch_size, device=self.device)[:, None]
        stream = torch.full_like(prompts, self.stream)
        step = torch.zeros_like(prompts) + self.step
        words = philox((blocks, prompts, stream, step), (self.seed & _WORD, self.seed >> 32))
        return words.flatten(1)[:, :count]

    def uniform(self, *shape: int) -> Float[Tensor, "batch ..."]:
        """Uniform numbers in the open interval (0, 1), float64, shape `(batch_size, *shape)`."""
        words = self._words(max(1, torch.Size(shape).numel()))
        return ((words.double() + 0.5) / 2.0**32).reshape(self.batch_size, *shape)

    def normal(self, *shape: int) -> Float[Tensor, "batch ..."]:
        """Standard normal numbers, float64, shape `(batch_size, *shape)`, by Box and Muller's transform."""
        count = max(1, torch.Size(shape).numel())
        uniform = (self._words(2 * -(-count // 2)).double() + 0.5) / 2.0**32
        radius = (-2.0 * uniform[:, 0::2].log()).sqrt()
        angle = 2.0 * torch.pi * uniform[:, 1::2]
        pairs = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
        return pairs.flatten(1)[:, :count].reshape(self.batch_size, *shape)
