"""Paired evaluation: known errors, the coverage of the interval, and what is refused."""

import math

import pytest
import scipy.stats
import torch
from torch import nn

from icl_lib import DenseLinear, Mixture, Sinusoid, baselines, bayes, evaluate, sample_prompts
from icl_lib.evaluation import (
    blend_weight,
    bootstrap_interval,
    bootstrap_ratio,
    curve_errors,
    curve_predictions,
    examples_to_reach,
    excess_risk,
    largest_rise,
    learning_curves,
    predictions,
    same_query_errors,
    share_interval,
    squared_errors,
)


def zero(xs, ys):
    return torch.zeros_like(ys)


def test_predicting_zero_has_the_second_moment_as_its_error():
    table = evaluate({"zero": zero}, DenseLinear(3), n_examples=5, n_prompts=4000)
    assert list(table.columns) == ["predictor", "n_examples", "mse", "median", "ci_low", "ci_high"]
    assert list(table.n_examples) == [0, 1, 2, 3, 4]
    assert ((table.ci_low < 1.1) & (table.ci_high > 0.9)).all()
    assert (
        table["median"] < table.mse
    ).all()  # a product of two normals squared is heavy on the right
    assert (table.ci_low < table.mse).all() and (table.mse < table.ci_high).all()


def test_least_squares_is_exact_once_there_are_as_many_examples_as_dimensions():
    table = evaluate({"ls": baselines.least_squares}, DenseLinear(3), n_examples=6, n_prompts=50)
    assert (table.mse[table.n_examples >= 3] < 1e-6).all() and (
        table.mse[table.n_examples < 3] > 0.05
    ).all()


def test_the_error_in_column_i_is_that_after_i_examples():
    def copies_last(xs, ys):
        return torch.cat((torch.zeros_like(ys[:, :1]), ys[:, :-1]), dim=1)

    errors = squared_errors(
        {"last": copies_last}, DenseLinear(2), n_examples=4, n_prompts=9, seed=5
    )["last"]
    ys = sample_prompts(DenseLinear(2), 9, 4, seed=5).ys.double()
    assert torch.allclose(errors[:, 0], ys[:, 0].square()) and torch.allclose(
        errors[:, 2], (ys[:, 2] - ys[:, 1]).square()
    )


def test_all_predictors_meet_the_same_prompts_in_batches_or_not():
    seen = []

    def spy(xs, ys):
        seen.append(xs)
        return zero(xs, ys)

    squared_errors({"a": spy, "b": spy}, DenseLinear(2), n_examples=3, n_prompts=300)
    half = len(seen) // 2
    assert half > 1 and torch.equal(torch.cat(seen[:half]), torch.cat(seen[half:]))


def test_the_bootstrap_interval_covers_the_mean_nine_times_in_ten():
    generator = torch.Generator().manual_seed(0)
    values = torch.empty(80, 1000, dtype=torch.float64).exponential_(
        generator=generator
    )  # 1000 experiments, mean 1
    low, high = bootstrap_interval(values)
    covered = ((low <= 1) & (high >= 1)).double().mean().item()
    assert (
        0.84 < covered < 0.93
    )  # 0.90, less a little that skewness costs the percentile bootstrap, within sampling error


def test_the_interval_of_a_difference_is_paired():
    errors = {"reference": torch.rand(400, 2).double() * 10}
    errors["slightly worse"] = errors["reference"] + 0.01
    table = excess_risk(errors, "reference")
    assert table.excess.tolist() == pytest.approx([0.01, 0.01])
    assert (table.ci_high - table.ci_low < 1e-9).all()
    assert list(table.predictor) == ["slightly worse"] * 2
    with pytest.raises(ValueError, match="reference, slightly worse; got 'Bayes'"):
        excess_risk(errors, "Bayes")


def test_fresh_queries_give_the_error_of_the_same_prefix():
    mixture = Mixture((DenseLinear(1), Sinusoid(1, 5)), (0.5, 0.5))

    def curve(xs, ys, queries):
        return bayes.posterior_curve(mixture, xs, ys, queries)[0]

    fresh = curve_errors({"Bayes": curve}, mixture, n_examples=2, n_queries=8, n_prompts=300)
    prefix = squared_errors(
        {"Bayes": bayes.predictor(mixture)}, mixture, n_examples=3, n_prompts=300
    )
    one, other = fresh["Bayes"][:, 0], prefix["Bayes"][:, 2]
    spread = math.sqrt(one.var() / len(one) + other.var() / len(other))
    assert abs(one.mean() - other.mean()) < 4 * spread
    single = curve_errors({"Bayes": curve}, mixture, n_examples=2, n_queries=1, n_prompts=20)[
        "Bayes"
    ][:, 0]
    assert torch.allclose(single, other[:20], atol=1e-9)
    assert learning_curves(fresh, [2]).n_examples.tolist() == [2]


@pytest.mark.parametrize(
    ("predictors", "seed", "message"),
    [
        ({}, 0, "at least one predictor, got none"),
        ({"zero": zero}, 2**32, r"seed must be an integer in \[0, 4294967295\], got 4294967296"),
        (
            {"short": lambda xs, ys: ys[:, 1:]},
            0,
            r"'short' must return shape \(4, 3\), got \(4, 2\)",
        ),
        ({"bad": lambda xs, ys: ys * math.nan}, 0, "'bad' must return finite"),
        (
            {"array": lambda xs, ys: ys.numpy()},
            0,
            "'array' must return a torch.Tensor, got ndarray",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(predictors, seed, message):
    with pytest.raises(ValueError, match=message):
        evaluate(predictors, DenseLinear(1), n_examples=3, n_prompts=4, seed=seed)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_examples": -1}, "n_examples .* at least 0, got -1"),
        ({"n_queries": 0}, "n_queries .* at least 1, got 0"),
        ({"n_prompts": 0}, "n_prompts .* at least 1, got 0"),
    ],
)
def test_curves_of_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        curve_errors(
            {"zero": lambda xs, ys, queries: 0 * queries[..., 0]},
            DenseLinear(1),
            **{"n_examples": 2, "n_prompts": 4} | sizes,
        )


def test_a_blend_is_taken_apart_again():
    first, second = torch.randn(2, 200, 5, generator=torch.Generator().manual_seed(0)).unbind(0)
    shares = torch.tensor([0.0, 0.2, 0.5, 1.0, 1.3])
    noise = 0.1 * torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    table = blend_weight(shares * first + (1 - shares) * second + noise, first, second)
    for share, row in zip(shares.tolist(), table.itertuples(), strict=True):
        assert row.ci_low < share < row.ci_high
        assert row.ci_high - row.ci_low < 0.05
        assert row.left == pytest.approx(0.01, rel=0.3)  # the noise


@pytest.mark.usefixtures("unchecked")
def test_experts_must_have_answered_the_same_prompts():
    first = torch.zeros(5, 2)
    with pytest.raises(ValueError, match="share one shape"):
        blend_weight(first, first, first[:3])


def test_experts_that_agree_leave_the_blend_open():
    values = torch.ones(4, 2)
    table = blend_weight(values, values, values)
    assert table.weight.isna().all()
    assert (table.left == 0).all()


def test_a_shares_interval_is_wilsons():
    hits = torch.arange(40)[:, None] < torch.tensor([0, 13, 40])
    low, high = share_interval(hits)
    for column, found in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        test = scipy.stats.binomtest(int(hits[:, column].sum()), 40)
        expected = test.proportion_ci(0.9, method="wilson")
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_ratios_interval_covers_it_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    over = 2 + torch.randn(300, 400, dtype=torch.float64, generator=generator)
    under = 4 + torch.randn(300, 400, dtype=torch.float64, generator=generator)
    low, high = bootstrap_ratio(over, under)
    covered = ((low < 0.5) & (high > 0.5)).double().mean().item()
    assert covered == pytest.approx(0.9, abs=0.05)  # three standard errors of a share of 400


def test_a_rise_is_found_where_it_is():
    errors = torch.tensor([5.0, 3.0, 1.0, 2.0, 4.0, 0.5]).repeat(400, 1)
    errors += 0.1 * torch.randn(errors.shape, generator=torch.Generator().manual_seed(2))
    found = largest_rise(errors)
    assert (found.fewer, found.more) == (2, 4)
    assert found.low < 3.0 < found.high
    assert found.high - found.low < 0.05


def test_a_monotonic_curve_has_no_rise_however_noisy():
    generator = torch.Generator().manual_seed(3)
    above = [
        largest_rise(torch.linspace(1, 0.9, 20) + torch.randn(200, 20, generator=generator)).low > 0
        for _ in range(100)
    ]
    assert sum(above) <= 11  # 5 are expected at most


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 5), (10, 1), (10,)])
def test_a_rise_needs_something_to_rise(shape):
    with pytest.raises(ValueError, match="a rise needs errors"):
        largest_rise(torch.zeros(shape))


def test_the_examples_to_reach_a_level_are_those_from_which_it_holds():
    errors = torch.tensor([[1.0, 0.05, 0.5, 0.1, 0.01]]).repeat(10, 1)
    assert examples_to_reach(errors, 0.2) == (3, 3, 3)
    assert examples_to_reach(errors, 1.5) == (0, 0, 0)
    assert examples_to_reach(errors, 0.005)[0] == float("inf")
    with pytest.raises(ValueError, match="level must be"):
        examples_to_reach(errors, 0.0)


def test_only_the_examples_grow_from_column_to_column():
    lengths = (0, 2, 5)
    seen = {n: [] for n in lengths}

    def spy(xs, ys, queries):
        seen[xs.shape[1]].append((xs, ys, queries))
        return torch.zeros(queries.shape[:2])

    errors = same_query_errors(
        {"zero": spy, "again": spy}, DenseLinear(3), n_examples=lengths, n_queries=4, n_prompts=50
    )
    assert errors["zero"].shape == (50, 3)
    assert torch.equal(errors["zero"][:, 0], errors["zero"][:, 2])  # nothing but zero was said
    met = {n: [torch.cat(parts) for parts in zip(*calls, strict=True)] for n, calls in seen.items()}
    for n, (xs, ys, queries) in met.items():
        assert xs.shape == (100, n, 3) and ys.shape == (100, n)  # 50, and the same again
        assert torch.equal(xs[:50], xs[50:])
        assert torch.equal(xs, met[5][0][:, :n])
        assert torch.equal(queries, met[5][2])


def test_exact_bayes_does_not_get_worse_on_the_same_queries():
    def dense(xs, ys, queries):
        return bayes.posterior_curve(DenseLinear(4), xs, ys, queries)[0]

    errors = same_query_errors(
        {"Bayes": dense}, DenseLinear(4), n_examples=range(6), n_prompts=400
    )["Bayes"]
    assert errors[:, 0].mean().item() == pytest.approx(1.0, abs=0.15)
    assert errors[:, 5].mean() < 1e-3
    assert largest_rise(errors).high < 0.05
    with pytest.raises(ValueError, match="at least one number of examples"):
        same_query_errors({"Bayes": dense}, DenseLinear(4), n_examples=())


def test_predictions_are_those_of_the_predictors():
    xs, ys = torch.randn(300, 4, 2), torch.randn(300, 4)
    found = predictions({"sum": lambda x, y: x.sum(-1)}, xs, ys)
    assert torch.equal(found["sum"], xs.sum(-1).double())
    with pytest.raises(ValueError, match="at least one predictor"):
        predictions({}, xs, ys)


def test_predictions_of_curves_are_those_of_the_predictors():
    def last_plus_query(xs, ys, queries):
        return xs[:, -1] + ys[:, -1:] + queries[..., 0]

    xs, ys, queries = torch.randn(50, 4, 1), torch.randn(50, 4), torch.randn(50, 7, 1)
    found = curve_predictions({"said": last_plus_query}, xs, ys, queries)
    assert torch.equal(found["said"], last_plus_query(xs, ys, queries).double())
    with pytest.raises(ValueError, match="at least one predictor"):
        curve_predictions({}, xs, ys, queries)
    with pytest.raises(ValueError, match=r"'flat' must return shape \(50, 7\), got \(50,\)"):
        curve_predictions({"flat": lambda xs, ys, queries: ys[:, 0]}, xs, ys, queries)


class Elsewhere(nn.Module):
    """A model on a device that is not here: it notes where its prompts are."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))
        self.seen = []

    def forward(self, xs, ys):
        self.seen += [xs.device.type, ys.device.type]
        return torch.zeros(ys.shape)

    def predict_curve(self, xs, ys, queries):
        self.seen.append(queries.device.type)
        return torch.zeros(queries.shape[:2])


def test_a_model_is_asked_on_the_device_where_it_is():
    model = Elsewhere()
    errors = squared_errors(
        {"model": model, "zero": zero}, DenseLinear(2), n_examples=3, n_prompts=200
    )
    assert model.seen == ["meta"] * 4 and torch.equal(errors["model"], errors["zero"])
    curve_errors({"model": model.predict_curve}, DenseLinear(2), n_examples=3, n_prompts=2)
    assert model.seen[4:] == ["meta"]


def test_errors_under_noise_are_errors_in_the_function():
    """Exact Bayes for dense functions errs in f by the posterior's variance, which the noise on the query is not in."""
    noise, dim, n = 0.5, 2, 6
    line = DenseLinear(dim)
    errors = squared_errors(
        {"Bayes": bayes.predictor(line, noise=noise)},
        line,
        n_examples=n,
        n_prompts=4000,
        noise=noise,
    )["Bayes"]
    xs = sample_prompts(line, 4000, n, seed=0).xs.double()
    gram = torch.eye(dim) * dim + xs[:, :-1].mT @ xs[:, :-1] / noise**2
    last = xs[:, -1, :, None]
    expected = (last.mT @ torch.linalg.solve(gram, last))[:, 0, 0]  # the posterior variance of f
    difference = errors[:, -1] - expected
    assert abs(difference.mean()) < 4 * difference.std() / 4000**0.5
    # A predictor that repeats the value before shows that it is given the noisy ones.
    constant = same_query_errors(
        {"first": lambda xs, ys, queries: ys[:, :1].expand(-1, queries.shape[1])},
        DenseLinear(1),
        n_examples=(1,),
        n_prompts=20_000,
        noise=2.0,
    )["first"]
    assert constant.mean() == pytest.approx(2 + 4, rel=0.1)
    table = evaluate({"zero": lambda xs, ys: 0 * ys}, line, n_examples=2, n_prompts=50, noise=3.0)
    plain = evaluate({"zero": lambda xs, ys: 0 * ys}, line, n_examples=2, n_prompts=50)
    assert table.mse.tolist() == plain.mse.tolist()
