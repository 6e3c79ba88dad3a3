"""What the examples say of the coefficients of a linear function."""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib.bayes.parts import expand, features_of, values_of
from icl_lib.bayes.posterior import check
from icl_lib.bayes.regression import JITTER, updates
from icl_lib.samplers import FunctionClass


def posterior_coefficients(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    *,
    noise: float = 0.0,
    jitter: float = JITTER,
) -> Float[Tensor, "batch examples dim"]:
    """Posterior mean of the coefficients of a linear function, from the examples before each.

    Args:
        function_class: of linear functions.
        xs: inputs (B, n, d).
        ys: values (B, n).
        noise: as for `posterior_predictive`.
        jitter: as for `posterior_predictive`.

    Returns:
        Coefficients (B, n, d), in the precision of `ys`; entry i uses the i examples before it.

    Raises:
        ValueError: as for `posterior_predictive`; a class of other than linear functions.
    """
    assumed = check(function_class, xs, ys, noise, jitter)
    means, log_masses = [], []
    axes = torch.eye(xs.shape[-1], dtype=torch.float64, device=xs.device)[None]
    for prior, parts in expand(function_class):
        for part in parts:
            if not part.basic.linear:
                raise ValueError(f"only linear functions have coefficients, got {part.basic!r}")
        latent = values_of(parts, xs)
        features = _stacked(features_of(parts, xs.double(), latent), latent)  # (B, N, n, F)
        weights, log_evidence = updates(features, ys.double(), assumed)
        log_mass = log_evidence + log(prior / latent.shape[1])  # (B, N, n)
        peak = log_mass.amax(1, keepdim=True)
        mass = (log_mass - peak).exp()
        share = (mass / mass.sum(1, keepdim=True))[..., None] * weights
        # A linear function's features at the axes say what its weights are worth to each coefficient.
        worth = _stacked(features_of(parts, axes, latent), latent)  # (1, N, d, F)
        means.append(torch.einsum("bsnf,sdf->bnd", share, worth[0]))
        log_masses.append(peak[:, 0] + mass.sum(1).log())
    probability = torch.stack(log_masses).softmax(0)
    return (probability[..., None] * torch.stack(means)).sum(0).to(ys.dtype)


def _stacked(features: list[Tensor], latent: Tensor) -> Tensor:
    """Features of every node as one tensor (B, N, n, F)."""
    return torch.stack([f.expand(-1, latent.shape[1], -1) for f in features], -1)
