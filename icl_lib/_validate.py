"""The checks that every predictor makes on its prompts before it computes."""

import torch
from torch import Tensor


def check_prompts(xs: Tensor, ys: Tensor) -> None:
    """Refuse prompts that no predictor can answer.

    Accepted: `xs` of shape (batch, examples, dim) with dim at least 1 and `ys` of shape (batch, examples), of one
    floating dtype, on one device, and finite. The batch and the examples may be empty.

    Raises:
        ValueError: naming what was given and what is accepted.
    """
    for name, value in (("xs", xs), ("ys", ys)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if xs.ndim != 3 or ys.ndim != 2 or xs.shape[:2] != ys.shape or xs.shape[-1] == 0:
        raise ValueError(
            "xs must have shape (batch, examples, dim) with dim at least 1, and ys shape (batch, examples); "
            f"got xs {tuple(xs.shape)} and ys {tuple(ys.shape)}"
        )
    if not xs.is_floating_point() or xs.dtype != ys.dtype:
        raise ValueError(
            f"xs and ys must have the same floating dtype; got xs {xs.dtype} and ys {ys.dtype}"
        )
    if xs.device != ys.device:
        raise ValueError(
            f"xs and ys must be on one device; got xs on {xs.device}, ys on {ys.device}"
        )
    for name, value in (("xs", xs), ("ys", ys)):
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise ValueError(
                f"{name} must be finite; got {bad} NaN or infinite of {value.numel()} values"
            )
