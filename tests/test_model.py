"""The transformer: its size, causality, and the curve in one pass."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_lib import Transformer, TransformerConfig

torch.manual_seed(0)
MODEL = (
    Transformer(TransformerConfig(dim=3, max_examples=9, layers=2, heads=2, width=16))
    .eval()
    .double()
)
with torch.no_grad():
    # Far from its small initial values, so that every path matters.
    for parameter in MODEL.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_standard_size_has_as_many_parameters_as_the_papers_model():
    model = Transformer(TransformerConfig.standard(20, 41))
    assert sum(p.numel() for p in model.parameters()) == 9_491_969


@pytest.mark.parametrize(
    ("size", "shape"), [("tiny", (3, 2, 64)), ("small", (6, 4, 128)), ("standard", (12, 8, 256))]
)
def test_the_three_sizes_are_those_of_garg_et_al(size, shape):
    config = getattr(TransformerConfig, size)(5, 11)
    assert (config.layers, config.heads, config.width, config.dim, config.max_examples) == (
        *shape,
        5,
        11,
    )


def test_each_initialisation_has_the_spread_it_promises():
    config = TransformerConfig.standard(20, 41)
    for initialisation, reader, writer in (
        ("torch", (3 * 256) ** -0.5, (3 * 256) ** -0.5),
        ("gpt2", 0.02, 0.02 / 24**0.5),
    ):
        model = Transformer(config, initialisation)
        block = model.blocks[0].attention
        assert block.project_in.weight.std().item() == pytest.approx(reader, rel=0.02)
        assert block.project_out.weight.std().item() == pytest.approx(writer, rel=0.02)
        assert model.positions.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_paired_positions_share_their_kind_and_their_point():
    model = Transformer(TransformerConfig.standard(20, 41))
    assert model.read_in.weight.std().item() == pytest.approx(2 * (3 * 20) ** -0.5, rel=0.03)
    x, y = model.positions.weight.detach().unflatten(0, (41, 2)).unbind(1)
    between = y - x  # what tells the kinds apart, the same at every point
    assert torch.allclose(between, between[:1].expand_as(between), atol=1e-6)
    assert between.std().item() == pytest.approx(0.3 * 2**0.5, rel=0.2)
    assert x.std(0).mean().item() == pytest.approx(0.1, rel=0.05)


@torch.no_grad()
@given(change=st.integers(0, 8), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_prediction_depends_on_the_examples_before_it_and_its_own_input_only(change, seed):
    xs, ys = draw(2, 9, 3, seed=seed), draw(2, 9, seed=seed + 1)
    before = MODEL(xs, ys)
    other_y, other_x = ys.clone(), xs.clone()
    other_y[:, change] += 1
    other_x[:, change] += 1
    after_y, after_x = MODEL(xs, other_y), MODEL(other_x, ys)
    assert torch.equal(after_y[:, : change + 1], before[:, : change + 1])
    assert torch.equal(after_x[:, :change], before[:, :change])
    assert (after_x[:, change] != before[:, change]).all()
    assert (after_y[:, change + 1 :] != before[:, change + 1 :]).all()


@torch.no_grad()
def test_a_shorter_prompt_gets_the_same_predictions():
    xs, ys = draw(2, 9, 3), draw(2, 9)
    assert torch.allclose(MODEL(xs[:, :4], ys[:, :4]), MODEL(xs, ys)[:, :4], atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("examples", range(9))
def test_a_curve_in_one_pass_equals_the_plain_forward_query_by_query(examples):
    xs, ys, queries = draw(2, examples, 3), draw(2, examples, seed=1), draw(2, 5, 3, seed=2)
    curve = MODEL.predict_curve(xs, ys, queries)
    for q in range(5):
        prompt = torch.cat((xs, queries[:, q : q + 1]), dim=1)
        values = torch.cat((ys, torch.full((2, 1), 9.9, dtype=torch.float64)), dim=1)
        assert torch.allclose(MODEL(prompt, values)[:, -1], curve[:, q], atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("examples", [0, 1, 8])
def test_a_query_attends_as_the_last_token_of_a_plain_forward(examples):
    xs, ys, queries = draw(2, examples, 3), draw(2, examples, seed=1), draw(2, 5, 3, seed=2)
    found = MODEL.attention(xs, ys, queries)
    assert found.shape == (2, 2, 2, 5, 2 * examples + 1)
    assert (found >= 0).all() and torch.allclose(found.sum(-1), torch.ones(2, 2, 2, 5).double())
    read = []
    hooks = [
        b.attention_norm.register_forward_hook(lambda *io: read.append(io[2])) for b in MODEL.blocks
    ]
    for q in range(5):
        read.clear()
        MODEL(
            torch.cat((xs, queries[:, q : q + 1]), dim=1), torch.cat((ys, ys.new_ones(2, 1)), dim=1)
        )
        for layer, (block, tokens) in enumerate(zip(MODEL.blocks, read, strict=True)):
            asked, held, _ = block.attention.project_in(tokens).split(16, dim=-1)
            for head in range(2):
                part = slice(8 * head, 8 * head + 8)
                scores = torch.einsum("bd,btd->bt", asked[:, -1, part], held[..., part]) / 8**0.5
                assert torch.allclose(found[:, layer, head, q], scores.softmax(-1), atol=1e-12)
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MODEL.attention(draw(1, 9, 3), draw(1, 9), draw(1, 1, 3)), "got 10"),
        (lambda: MODEL(draw(1, 10, 3), draw(1, 10)), "positions for 9 points.*got 10"),
        (lambda: MODEL.predict_curve(draw(1, 9, 3), draw(1, 9), draw(1, 1, 3)), "got 10"),
        (lambda: MODEL(draw(1, 4, 2), draw(1, 4)), "dimension 3, got 2"),
        (lambda: MODEL(draw(1, 4, 3) * math.nan, draw(1, 4)), "xs must be finite"),
        (lambda: MODEL(draw(1, 4, 3), draw(1, 4) / 0), "ys must be finite"),
        (lambda: MODEL(draw(1, 4, 3).float(), draw(1, 4).float()), "computes in torch.float64"),
        (lambda: MODEL(draw(1, 4, 3), draw(1, 4).long()), "same floating dtype"),
        (
            lambda: MODEL(draw(1, 4, 3).numpy(), draw(1, 4)),
            "xs must be a torch.Tensor, got ndarray",
        ),
        (
            lambda: MODEL.predict_curve(draw(1, 4, 3), draw(1, 4), draw(1, 2, 3).float()),
            "xs and queries must have the same floating dtype",
        ),
        (
            lambda: MODEL.predict_curve(draw(1, 4, 3), draw(1, 4), draw(2, 2, 3)),
            r"queries must have shape \(1, queries, 3\)",
        ),
        (lambda: TransformerConfig(1, 4, 2, 3, 16), "multiple of heads, got 16 and 3"),
        (lambda: Transformer(MODEL.config, "zeros"), "torch, gpt2, got 'zeros'"),
        (lambda: TransformerConfig.tiny(0, 4), "dim .* got 0"),
        (
            lambda: TransformerConfig.of_size("huge", 1, 4),
            "mini, tiny, slim, short, small, standard, got 'huge'",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
