"""Covariances E f(x) f(x') of classes that are, or come near to, Gaussian processes."""

import math

from jaxtyping import Float
from torch import Tensor


def arc_cosine_kernel(
    first: Float[Tensor, "batch rows dim"], second: Float[Tensor, "batch columns dim"]
) -> Float[Tensor, "batch rows columns"]:
    """The covariance E f(x) f(x') of ReluNetwork: the first-order arc-cosine kernel of Cho and Saul (2009), section 2.

    f(x) = Σ_j a_j max(0, w_j·x) / √d with w_j ~ N(0, I) and a_j ~ N(0, 2/width), so that, with θ the angle between x
    and x', k(x, x') = ‖x‖ ‖x'‖ (sin θ + (π − θ) cos θ) / (π d). k(x, x) = ‖x‖²/d, of mean 1 under x ~ N(0, I).
    """
    lengths = first.norm(dim=-1)[:, :, None] * second.norm(dim=-1)[:, None]
    # Where a length is zero the kernel is zero, whatever the angle.
    cosine = (first @ second.mT / lengths.where(lengths > 0, 1.0)).clamp(-1.0, 1.0)
    angle = cosine.arccos()
    shape = angle.sin() + (math.pi - angle) * cosine
    return lengths * shape / (math.pi * first.shape[-1])


def squared_exponential_kernel(
    first: Float[Tensor, "batch rows dim"],
    second: Float[Tensor, "batch columns dim"],
    length: float,
) -> Float[Tensor, "batch rows columns"]:
    """exp(−‖x − x'‖² / 2 length²): smooth functions of unit variance that change over distances of `length`."""
    squares = (first[:, :, None] - second[:, None]).square().sum(-1)
    return (-squares / (2 * length**2)).exp()
