"""The optimiser: what it makes orthogonal, and that a step of it is a step of PyTorch's own."""

import pytest
import torch

from icl_lib.muon import Muon, orthogonalise

SHAPES = ((8, 8), (24, 8), (8, 32), (8, 8), (24, 8))


def matrices(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (1, 8, 32)])
def test_singular_values_end_near_one_and_singular_vectors_stay(shape):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(drawn, full_matrices=False)
    spread = torch.logspace(0, -2, min(shape[1:]))
    result = orthogonalise(u * spread @ v)
    inside = u.mT @ result @ v.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.65 and values.max() < 1.25
    torch.testing.assert_close(inside, torch.diag_embed(values), atol=1e-4, rtol=0)


def test_scale_does_not_matter_and_zero_stays_zero():
    drawn = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalise(drawn), orthogonalise(1e3 * drawn))
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_each_matrix_is_treated_as_if_alone():
    drawn = torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(2))
    together = orthogonalise(drawn)
    for one, alone in zip(together, drawn, strict=True):
        torch.testing.assert_close(one, orthogonalise(alone[None])[0])


def test_steps_are_those_of_torch():
    ours = [torch.nn.Parameter(m) for m in matrices(3)]
    theirs = [torch.nn.Parameter(m) for m in matrices(3)]
    start = matrices(3)
    mine = Muon(ours, lr=0.02, weight_decay=0.1, dtype=torch.bfloat16)
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        for a, b, gradient in zip(ours, theirs, matrices(10 + step), strict=True):
            a.grad, b.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    for before, a, b in zip(start, ours, theirs, strict=True):
        # Sums of bfloat16 products depend on their order: the way gone agrees to that type's precision.
        assert (a - b).norm() < 0.02 * (b - before).norm()


def test_a_parameter_without_gradient_stays_and_a_vector_is_refused():
    first, second = (torch.nn.Parameter(m) for m in matrices(4)[:2])
    second.grad = torch.ones_like(second)
    before = first.detach().clone()
    Muon([first, second], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(first, before)
    with pytest.raises(ValueError, match=r"takes matrices, got a parameter of shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
