r"""The exact Bayes predictor of a function class: the best answer anyone with its prior can give.

A class says itself what it is (`FunctionClass.features`, `.latent`, `.covariance`); nothing here knows them by name.
Most are, given a *latent*, Bayesian linear regression, f(x) = w . phi(x) with w ~ N(0, I):

    class                        latent           features phi(x)
    DenseLinear(d)               none             x / sqrt(d)
    SparseLinear(d, k)           the support S    x_S / sqrt(k)
    Sinusoid(low, high)          frequency v      sin(v x), cos(v x)
    ConvexCombination(f, g, a)   those of both    a times those of f, (1 - a) times those of g
    Mixture                      the component    those of the component

Given the latent, the evidence (the probability density of the examples) and the posterior mean
are in closed form (`regression`). A support or a grid is summed one by one; an interval is integrated over
cells that are cut finer where it matters (`bands`). The predictor is the average over latents,
each weighted by its prior probability times its evidence. For a mixture that is the
posterior-weighted blend of the components' own predictors (Panwar et al., arXiv 2306.04891).

Two things stand between this and exactness. Besides the noise that it is told of, by default none, the predictor
assumes noise of standard deviation `JITTER`; and the integral over frequencies is a sum, which the tests compare with a
far finer one. What is predicted is f, not the noisy value.

ReluNetwork has no such form. In its place stands its limit at infinite width, the Gaussian process
with the first-order arc-cosine kernel (Cho and Saul 2009): **an approximation**, the only one here.

A `TaskSet` has finitely many functions, and its posterior is a sum over them (`tasks`).

Rooms: `posterior` and `coefficients` (what one asks for), `parts` (a class as sums of regressions), `regression`,
`bands` (the integral over frequencies), `tasks` and `graphs` (the same for the browser).
"""

from icl_lib.bayes.bands import COARSE, FINE, ZOOMED, Resolution
from icl_lib.bayes.coefficients import posterior_coefficients
from icl_lib.bayes.doubt import with_doubt
from icl_lib.bayes.graphs import (
    BandPosterior,
    CurvePosterior,
    PrefixPosterior,
    SmoothPosterior,
    band_module,
    curve_module,
    prefix_module,
)
from icl_lib.bayes.parts import MAX_SUPPORTS
from icl_lib.bayes.posterior import (
    Posterior,
    latent_posterior,
    posterior_curve,
    posterior_predictive,
    predictor,
)
from icl_lib.bayes.regression import JITTER

__all__ = [
    "COARSE",
    "FINE",
    "JITTER",
    "MAX_SUPPORTS",
    "ZOOMED",
    "BandPosterior",
    "CurvePosterior",
    "Posterior",
    "PrefixPosterior",
    "Resolution",
    "SmoothPosterior",
    "band_module",
    "curve_module",
    "latent_posterior",
    "posterior_coefficients",
    "posterior_curve",
    "posterior_predictive",
    "predictor",
    "prefix_module",
    "with_doubt",
]
