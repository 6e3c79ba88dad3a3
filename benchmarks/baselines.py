"""The classical predictors against a loop over the usual library call: 64 prompts, 41 points, d = 20, one thread.

Run as `python -m benchmarks.baselines`.
"""

import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from icl_lib import DenseLinear, SparseLinear, baselines, sample_prompts

BATCH, EXAMPLES, DIM, NNZ = 64, 41, 20, 2
ALPHAS = (0.1, 0.01, 0.001)
# scikit-learn's coordinate descent may stop short of a small gap; this many sweeps keep that rare.
SWEEPS = 100_000


def rows() -> list[dict]:
    """Time each predictor and its reference in turn: what, reference, reach, measured (a ratio of times), detail."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = [_least_squares_row(None), _least_squares_row("gelsd")]
        for name, function_class in (
            ("dense", DenseLinear(DIM)),
            ("sparse", SparseLinear(DIM, NNZ)),
        ):
            prompts = sample_prompts(function_class, BATCH, EXAMPLES, seed=0)
            result += [
                _lasso_row(name, prompts.xs.double(), prompts.ys.double(), alpha)
                for alpha in ALPHAS
            ]
        return result
    finally:
        torch.set_num_threads(threads)


def _least_squares_row(driver: str | None) -> dict:
    prompts = sample_prompts(DenseLinear(DIM), BATCH, EXAMPLES, seed=0)
    xs, ys = prompts.xs.double(), prompts.ys.double()

    def reference() -> torch.Tensor:
        predictions = torch.zeros_like(ys)
        for i in range(1, EXAMPLES):
            fitted = torch.linalg.lstsq(xs[:, :i], ys[:, :i, None], driver=driver).solution
            predictions[:, i] = (xs[:, i, None] @ fitted)[:, 0, 0]
        return predictions

    ours, theirs = _times(lambda: baselines.least_squares(xs, ys), reference, repeats=15)
    difference = float((baselines.least_squares(xs, ys) - reference()).abs().max())
    return {
        "what": f"least squares, every prefix, {BATCH} × {EXAMPLES}, d = {DIM}",
        "reference": f"loop over prefixes of torch.linalg.lstsq, batched over prompts, {driver or 'default (gelsy)'}",
        "reach": "3 times",
        "measured": theirs / ours,
        "detail": f"{1e3 * ours:.1f} ms against {1e3 * theirs:.1f} ms; largest difference {difference:.1e}",
    }


def _lasso_row(name: str, xs: torch.Tensor, ys: torch.Tensor, alpha: float) -> dict:
    tol = 1e-8
    design, labels = xs.numpy(), ys.numpy()
    coefficients = np.zeros(xs.shape)

    def reference() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for prompt in range(BATCH):
                for i in range(1, EXAMPLES):
                    model = Lasso(alpha, fit_intercept=False, tol=tol, max_iter=SWEEPS)
                    model.fit(design[prompt, :i], labels[prompt, :i])
                    coefficients[prompt, i] = model.coef_

    ours, theirs = _times(lambda: baselines.lasso(xs, ys, alpha, tol), reference, repeats=3)
    energy = ys.square().cumsum(1)[:, :-1] / torch.arange(1, EXAMPLES)

    def gaps(solution: torch.Tensor) -> torch.Tensor:
        return baselines.lasso_duality_gap(xs, ys, solution, alpha)[:, 1:] / energy

    our_gap = gaps(baselines.lasso_coefficients(xs, ys, alpha, tol))
    their_gap = gaps(torch.from_numpy(coefficients))
    missed = int((their_gap > 1.01 * tol).sum())
    return {
        "what": f"Lasso, every prefix, {BATCH} × {EXAMPLES}, d = {DIM}, {name}, alpha {alpha}",
        "reference": f"loop of scikit-learn's Lasso, both to a gap of {tol:.0e} ‖y‖²/m",
        "reach": "10 times",
        "measured": theirs / ours,
        "detail": (
            f"{1e3 * ours:.0f} ms against {1e3 * theirs:.0f} ms; largest gap {float(our_gap.max()):.0e} against "
            f"{float(their_gap.max()):.0e} ‖y‖²/m"
            + (f", which misses {missed} of {their_gap.numel()}" if missed else "")
        ),
    }


def _times(
    first: Callable[[], object], second: Callable[[], object], *, repeats: int
) -> tuple[float, float]:
    """Median seconds of each, taken in turn so that whatever else the machine does falls on both."""
    first()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, seconds in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return median(taken[0]), median(taken[1])


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['what']}: {row['measured']:.1f} (reach {row['reach']}; {row['reference']}; {row['detail']})"
        )
