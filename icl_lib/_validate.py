"""The checks that arguments and prompts pass before anything computes.

Each refusal is a ValueError that says what was given and what is accepted.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from math import inf, isfinite

import torch
from torch import Tensor


def is_number(value: object) -> bool:
    """Whether `value` is a finite int or float; True and False are no numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """A question that names what `name` may have been meant to be; empty where nothing is near."""
    found = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def check_count(name: str, value: object, least: int = 1, most: float = inf) -> None:
    """Refuse what is not an integer from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        accepted = f"of at least {least}" if most == inf else f"in [{least}, {most}]"
        raise ValueError(f"{name} must be an integer {accepted}, got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above zero."""
    if not is_number(value) or value <= 0:
        raise ValueError(f"{name} must be a positive, finite number, got {value!r}")


def check_not_negative(name: str, value: float) -> None:
    """Refuse what is not a finite number of at least zero."""
    if not is_number(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")


def check_fraction(name: str, value: float) -> None:
    """Refuse what is not a number in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], got {value!r}")


def check_prompts(xs: Tensor, ys: Tensor) -> None:
    """Refuse prompts that no predictor can answer.

    Accepted: `xs` of shape (batch, examples, dim) with dim at least 1 and `ys` of shape (batch, examples), of one
    floating dtype, on one device, and finite. The batch and the examples may be empty.

    Raises:
        ValueError: naming what was given and what is accepted.
    """
    _check_tensors(xs=xs, ys=ys)
    if xs.ndim != 3 or ys.ndim != 2 or xs.shape[:2] != ys.shape or xs.shape[-1] == 0:
        raise ValueError(
            "xs must have shape (batch, examples, dim) with dim at least 1, and ys shape (batch, examples); "
            f"got xs {tuple(xs.shape)} and ys {tuple(ys.shape)}"
        )
    _check_alike("xs", xs, "ys", ys)
    _check_finite(xs=xs, ys=ys)


def check_queries(xs: Tensor, queries: Tensor) -> None:
    """Refuse queries that do not fit prompts which have passed `check_prompts`.

    Accepted: shape (batch, queries, dim) with the batch and dim of `xs`, of its dtype, on its device, and finite.

    Raises:
        ValueError: naming what was given and what is accepted.
    """
    _check_tensors(queries=queries)
    batch, _, dim = xs.shape
    if queries.ndim != 3 or queries.shape[0] != batch or queries.shape[2] != dim:
        raise ValueError(
            f"queries must have shape ({batch}, queries, {dim}) beside xs {tuple(xs.shape)}; "
            f"got {tuple(queries.shape)}"
        )
    _check_alike("xs", xs, "queries", queries)
    _check_finite(queries=queries)


def _check_tensors(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def _check_alike(name: str, one: Tensor, other_name: str, other: Tensor) -> None:
    if not one.is_floating_point() or one.dtype != other.dtype:
        raise ValueError(
            f"{name} and {other_name} must have the same floating dtype; "
            f"got {name} {one.dtype} and {other_name} {other.dtype}"
        )
    if one.device != other.device:
        raise ValueError(
            f"{name} and {other_name} must be on one device; "
            f"got {name} on {one.device}, {other_name} on {other.device}"
        )


def _check_finite(**values: Tensor) -> None:
    if torch.compiler.is_compiling():
        return  # looking at values would break the graph that is compiled or exported
    for name, value in values.items():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise ValueError(
                f"{name} must be finite; got {bad} NaN or infinite of {value.numel()} values"
            )
