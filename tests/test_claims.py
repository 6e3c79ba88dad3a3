"""Each claim's rule at its edges; what is not a measure is refused; a finding survives its journey."""

import json

import pytest

from icl_lib import claims
from icl_lib.claims import CLAIMS, MIME, VERDICTS, Finding, find


def measures(key):
    """Measures of nothing."""
    return dict.fromkeys(CLAIMS[key].needs, (0.0, 0.0, 0.0))


def test_the_ledger_has_eight_claims():
    assert list(CLAIMS) == [f"C{i}" for i in range(1, 9)]


@pytest.mark.parametrize("key", ["C1", "C4"])
def test_a_cost_must_be_small_everywhere(key):
    name = CLAIMS[key].needs[-1]
    for high, low, expected in (
        (0.049, 0.01, "supported"),
        (0.051, 0.049, "mixed"),
        (0.06, 0.051, "not supported"),
    ):
        found = measures(key) | {name: (low, low, high)}
        assert find(key, found, section="here").verdict == expected


def test_a_model_that_is_cheap_but_not_near_the_best_is_mixed():
    above = (0.06, 0.055, 0.07)
    near = measures("C2")
    assert find("C2", near, section="").verdict == "supported"
    far = near | {"above exact Bayes: sparse, 10 examples": above}
    assert find("C2", far, section="").verdict == "mixed"
    dear = far | {"above the specialist: sparse, 10 examples": above}
    assert find("C2", dear, section="").verdict == "not supported"


@pytest.mark.parametrize(
    ("sparse_end", "dense_end", "order", "expected"),
    [
        (0.24, 0.76, 0.95, "supported"),
        (0.26, 0.76, 0.95, "mixed"),
        (0.24, 0.74, 0.95, "mixed"),
        (0.24, 0.76, 0.85, "not supported"),
    ],
)
def test_the_mixture_model_must_move_from_end_to_end(sparse_end, dense_end, order, expected):
    found = {
        "2 nonzeros": (0.1, 0.0, sparse_end),
        "20 nonzeros": (0.9, dense_end, 1.0),
        "rank correlation": (order, order, order),
    }
    assert find("C3", found, section="here").verdict == expected


def test_rare_classes_must_be_odd_and_balanced_ones_not():
    odd, even = (0.1, 0.05, 0.2), (0.0, 0.0, 0.01)
    names = CLAIMS["C5"].needs
    as_claimed = {name: odd if name.startswith("rare") else even for name in names}
    assert find("C5", as_claimed, section="").verdict == "supported"
    for other in ({"balanced line": odd}, {"rare sine": even}):
        assert find("C5", as_claimed | other, section="").verdict == "mixed"
    assert find("C5", dict.fromkeys(names, even), section="").verdict == "not supported"


def test_what_is_rare_must_be_handled_and_what_lies_beyond_must_collapse():
    rare, *beyond = CLAIMS["C7"].needs
    low, high = (0.2, 0.15, 0.24), (0.9, 0.51, 1.2)
    as_claimed = {rare: low} | dict.fromkeys(beyond, high)
    assert find("C7", as_claimed, section="").verdict == "supported"
    assert find("C7", as_claimed | {beyond[-1]: low}, section="").verdict == "mixed"
    for other in (dict.fromkeys(beyond, low), {rare: (0.25, 0.2, 0.26)}):
        assert find("C7", as_claimed | other, section="").verdict == "not supported"


@pytest.mark.parametrize(
    ("middle", "end", "near", "expected"),
    [
        (0.06, 0.011, 0.014, "supported"),
        (0.06, 0.011, 0.016, "mixed"),
        (0.06, 0.013, 0.001, "not supported"),
        (0.049, 0.001, 0.001, "not supported"),
    ],
)
def test_the_middle_must_be_bad_and_the_ends_good(middle, end, near, expected):
    found = measures("C6") | {
        "a = 0": (end, end, end),
        "a = 0.9": (near, near, near),
        "a = 0.5": (middle, middle, 1.0),
    }
    assert find("C6", found, section="here").verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.51, 0.9, "supported"), (0.4, 0.6, "mixed"), (0.1, 0.49, "not supported")],
)
def test_four_times_as_many_examples(low, high, expected):
    every = dict.fromkeys(CLAIMS["C8"].needs, (low, low, high))
    assert find("C8", every, section="").verdict == expected
    one = every | {CLAIMS["C8"].needs[0]: (0.3, 0.0, 0.49)}
    assert find("C8", one, section="").verdict == ("mixed" if low > 0.4 or high > 0.5 else expected)


@pytest.mark.parametrize("key", CLAIMS)
def test_a_finding_survives_its_journey_in_a_notebook(key):
    found = find(key, measures(key), section="here", note="tiny")
    bundle = found._repr_mimebundle_()
    assert f"{key} is {found.verdict}" in bundle["text/markdown"]
    for name, words in found.told().items():
        assert f"| {name} | {words} |" in bundle["text/markdown"]
    again = Finding.from_dict(json.loads(json.dumps(bundle[MIME])))
    assert again == found
    assert again.verdict in VERDICTS
    assert set(again.told()) == set(CLAIMS[key].needs)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match=r"one of C1, .* got 'C9'"):
        find("C9", {}, section="here")
    with pytest.raises(ValueError, match=r"judged by the measures a = 0\.5, .*; got none"):
        find("C8", {}, section="here")
    for bad in ((1.0, 2.0, 1.0), (float("nan"), 0.0, 1.0), (0.0, 0.0, float("inf"))):
        with pytest.raises(ValueError, match="an estimate and the ends of its interval"):
            find("C8", measures("C8") | {"a = 0.5": bad}, section="here")


def test_the_words_of_a_rule_hold_its_numbers():
    for key in ("C1", "C2", "C4", "C6"):
        assert f"{claims.WORSE:g}" in CLAIMS[key].rule
    assert f"{claims.RISE:g}" in CLAIMS["C5"].rule
    assert f"{claims.HANDLED:g}" in CLAIMS["C7"].rule
    assert f"{claims.COLLAPSE:g}" in CLAIMS["C7"].rule
