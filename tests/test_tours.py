"""What the tours say is what their explorers show: each sentence beside the numbers that make it true."""

import numpy as np
import pytest

from icl_lib.page import BAND_MODELS
from icl_lib.widgets import ConvexExplorer, FrequencyExplorer, SelectionExplorer, combinations
from icl_lib.widgets.frequency import queries
from icl_lib.widgets.plot import mean_square
from icl_lib.widgets.selection import answers, draw_batch, summary

ALL = ["transformer", "mixture", "linear"]


def steps(explorer):
    """The views of a tour's steps, by what is said of them."""
    return {place["says"]: place["view"] for place in explorer.places if place["says"]}


def step(explorer, *words):
    """The view of the one step whose sentence has these words."""
    (view,) = (
        view for says, view in steps(explorer).items() if all(word in says for word in words)
    )
    return view


@pytest.mark.parametrize("model", combinations.TOURED)
def test_between_a_line_and_a_sine(model):
    def shown(*words):
        """The errors as shares of the function's mean square, and the posterior."""
        view = ConvexExplorer(**step(explorer, *words))
        picture = view._picture(view.weight)
        zero = mean_square(combinations.QUERIES, view.truth(combinations.QUERIES))
        errors = {name: error / zero for name, error in picture["errors"].items()}
        return errors, picture["probability"]

    explorer = ConvexExplorer(model=model)
    assert len(steps(explorer)) == 6
    errors, _ = shown("A sine, as in pretraining", "20 points", "nearly finds it")
    assert errors["transformer"] < 0.01
    errors, _ = shown("A line, as in pretraining", "every predictor finds it")
    assert max(errors.values()) < 1e-3
    halfway, (_, sine, _) = shown("the transformer fails; so does exact Bayes", "certain of a sine")
    assert halfway["transformer"] > 0.2 and halfway["mixture"] > 0.2 and sine > 0.99
    more, _ = shown("help the transformer little", "best linear predictor shows what they allow")
    assert more["transformer"] > 0.7 * halfway["transformer"] and more["linear"] < 1e-3
    doubting, (*_, other) = shown("one chance in a million", "nearly finds the function")
    assert doubting["mixture"] < 0.02 < 0.2 < doubting["transformer"] and other > 0.99
    fast, _ = shown("faster than any in pretraining", "worse than predicting zero")
    assert min(fast.values()) > 1


def test_out_of_the_band():
    def shown(*words):
        view = FrequencyExplorer(models=list(BAND_MODELS), **step(explorer, *words))
        at = queries(view.scale)
        zero = mean_square(at, view.truth(at), view.scale)
        errors = view._picture(view.frequency)["errors"]
        return {name: error / zero for name, error in errors.items()}

    explorer = FrequencyExplorer(models=list(BAND_MODELS))
    assert len(steps(explorer)) == 6
    errors = shown("Inside the band exact Bayes finds", "comes close")
    assert errors["mixture"] < 1e-6 and errors["transformer"] < 0.03
    errors = shown("Just outside, the transformer errs less than exact Bayes")
    assert errors["transformer"] < 0.6 * errors["mixture"]
    far = shown(
        "the transformer and exact Bayes are worse than predicting zero",
        "with the right band the task is easy",
    )
    assert min(far["transformer"], far["mixture"]) > 1 and far["right"] < 1e-6
    assert shown("one chance in a million", "far less")["mixture"] < 0.25 * far["mixture"]
    errors = shown("pretrained on frequencies up to 10 does better there")
    assert errors["transformer"] < 0.5 * far["transformer"]
    errors = shown("far taller", "exact Bayes finds this sine too, the transformer does not")
    assert errors["mixture"] < 1e-6 and errors["transformer"] > 0.3


def test_which_class_is_it():
    def shown(*words):
        """Exact Bayes' P(dense), the dense expert's weight, and the errors, where the numbers are read."""
        view = SelectionExplorer(**step(explorer, *words))
        xs, ys = draw_batch(view.seed, view.nnz, dim=view.dims[view.size])
        posterior = view.bayes[view.size]
        found = summary(ys, answers(view._name(), posterior, view.share, xs, ys))
        n = view.n_examples
        errors = {name: values[n] for name, values in found["errors"].items()}
        return found["belief"][n], found["blend"][n], errors

    explorer = SelectionExplorer(size="short")
    assert len(steps(explorer)) == 6
    belief, *_ = shown("After two examples", "cannot tell", "each class about half")
    assert 0.4 < belief < 0.6
    belief, blend, _ = shown("After five exact Bayes is certain", "still follows the dense expert")
    assert belief < 0.01 and blend > 0.85
    belief, blend, errors = shown("After fifteen", "stands between the experts, and errs")
    assert belief < 0.01 and 0.3 < blend < 0.7
    assert errors["transformer"] > 0.05 and errors["mixture"] < 1e-4
    belief, *_ = shown("a third coefficient", "takes most for dense")
    assert belief > 0.9
    _, _, errors = shown("Twenty examples determine a dense function", "still errs")
    assert errors["dense"] < 1e-3 and errors["transformer"] > 0.1
    belief, blend, _ = shown("In eight dimensions", "after six", "stands between the experts")
    assert belief < 0.01 and 0.3 < blend < 0.7


def test_there_is_a_tour_only_where_it_is_true():
    explorers = [ConvexExplorer(), FrequencyExplorer(), SelectionExplorer(sizes=["tiny"])]
    assert [len(steps(explorer)) for explorer in explorers] == [0, 6, 0]
    assert [place["name"] for place in explorers[2].places] == ["Sparse functions are rare"]
    assert all(
        np.array([len(place["name"]) for place in one.places]).max() < 40 for one in explorers
    )
