"""Put a pretrained transformer to the test, beside the best possible answer.

Companion library to the book *Beyond the Mixture*, on "Pretraining Data Mixtures Enable Narrow Model Selection
Capabilities in Transformer Models" (arXiv 2311.00871).
"""

from icl_lib import baselines, bayes, shapes
from icl_lib.evaluation import evaluate, excess_risk, squared_errors
from icl_lib.model import Transformer, TransformerConfig
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    GaussianProcess,
    Mixture,
    Prompts,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
    sample_prompts,
)
from icl_lib.weights import WeightsError, available, load

__version__ = "0.1.0"

__all__ = [
    "ConvexCombination",
    "DenseLinear",
    "FunctionClass",
    "GaussianProcess",
    "Mixture",
    "Prompts",
    "ReluNetwork",
    "Sinusoid",
    "SparseLinear",
    "Transformer",
    "TransformerConfig",
    "WeightsError",
    "available",
    "baselines",
    "bayes",
    "evaluate",
    "excess_risk",
    "load",
    "sample_prompts",
    "shapes",
    "squared_errors",
]
