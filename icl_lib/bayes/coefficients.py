"""What the examples say of the coefficients of a linear function."""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib.bayes.parts import expand, supports_of
from icl_lib.bayes.posterior import check
from icl_lib.bayes.regression import JITTER, updates
from icl_lib.samplers import DenseLinear, FunctionClass, SparseLinear


def posterior_coefficients(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    *,
    jitter: float = JITTER,
) -> Float[Tensor, "batch examples dim"]:
    """Posterior mean of the coefficients of a linear function, from the examples before each.

    Args:
        function_class: a DenseLinear, a SparseLinear, or a mixture of such.
        xs: inputs (B, n, d).
        ys: values (B, n).
        jitter: as for `posterior_predictive`.

    Returns:
        Coefficients (B, n, d), in the precision of `ys`; entry i uses the i examples before it.

    Raises:
        ValueError: as for `posterior_predictive`; a class of other than linear functions.
    """
    check(function_class, xs, ys, jitter)
    means, log_masses = [], []
    for prior, parts in expand(function_class):
        basic = parts[0].basic
        match basic:
            case DenseLinear(dim=dim):
                supports = torch.arange(dim)[None]
            case SparseLinear():
                supports = supports_of(parts, torch.device("cpu"))[0]
            case _:
                raise ValueError(f"only linear functions have coefficients, got {basic!r}")
        supports = supports.to(xs.device)
        scale = supports.shape[1] ** -0.5
        features = xs.double()[:, :, supports].transpose(1, 2) * scale  # (B, S, n, k)
        weights, log_evidence = updates(features, ys.double(), jitter)
        log_mass = log_evidence + log(prior / len(supports))  # (B, S, n)
        peak = log_mass.amax(1, keepdim=True)
        mass = (log_mass - peak).exp()
        share = (mass / mass.sum(1, keepdim=True))[..., None] * weights * scale
        where = supports.flatten()[None, None].expand(*ys.shape, -1)
        found = torch.zeros_like(xs, dtype=torch.float64)
        means.append(found.scatter_add(2, where, share.transpose(1, 2).flatten(2)))
        log_masses.append(peak[:, 0] + mass.sum(1).log())
    probability = torch.stack(log_masses).softmax(0)
    return (probability[..., None] * torch.stack(means)).sum(0).to(ys.dtype)
