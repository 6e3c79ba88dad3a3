"""A grain of doubt: a prior that allows for some function of no class that it knows."""

from __future__ import annotations

from icl_lib._validate import check_fraction
from icl_lib.samplers import FunctionClass, GaussianProcess, Mixture

LENGTHS = (0.25, 0.5, 1.0, 2.0)
"""Length scales of the smooth functions that a doubter allows for, each as likely: our choice."""


def with_doubt(function_class: FunctionClass, doubt: float) -> Mixture:
    """The prior of one who believes in `function_class`, but for a probability `doubt` of some other smooth function.

    The other function is a Gaussian process of one of four length scales. Certainty is `doubt` = 0; and since evidence
    is weighed in logarithms, 1e-30 is as good a doubt as any.

    Args:
        function_class: what is believed in; of a mixture the classes keep their proportions.
        doubt: a probability, in [0, 1].

    Returns:
        A mixture whose last component is the doubt.

    Raises:
        ValueError: a doubt outside [0, 1].
    """
    check_fraction("doubt", doubt)
    even, lengths = zip(*smooth_functions(function_class.dim), strict=True)
    smooth = Mixture(lengths, even)
    believed = function_class.components()
    classes = (*(component for _, component in believed), smooth)
    return Mixture(classes, (*((1 - doubt) * weight for weight, _ in believed), doubt))


def smooth_functions(dim: int) -> list[tuple[float, GaussianProcess]]:
    """What a doubter allows for besides the classes: each with its probability, given that it is none of these."""
    return [(1 / len(LENGTHS), GaussianProcess(dim, length)) for length in LENGTHS]
