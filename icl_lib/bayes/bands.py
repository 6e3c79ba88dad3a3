"""The integral over frequencies: cells that are cut finer where the evidence is."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib.bayes.parts import Parts, features_of
from icl_lib.bayes.regression import Noise, regress
from icl_lib.latents import Interval


@dataclass(frozen=True)
class Resolution:
    """How finely frequencies are resolved.

    The band is cut into `cells` cells per unit of frequency; then, `levels` times, the `keep` cells
    that matter most are each cut into `split`. By default that ends at cells 1 / 65,536 wide;
    without noise, 40 examples pin a frequency down to about 1e-4. Predictions of a line, a
    sine or a combination of both at `|x| < 3` are then right to 4e-4 (95% of prompts; the worst of 64:
    3e-3) with 2 or 3 examples, which leave many frequencies open, and to 1e-5 from 5 on.
    """

    cells: int = 64
    keep: int = 64
    split: int = 4
    levels: int = 5


FINE = Resolution()
"""What every function here uses unless told otherwise."""

COARSE = Resolution(cells=32, keep=32, split=4, levels=4)
"""What the page uses: less than half the work, and curves still right to about 1e-3."""

ZOOMED = Resolution(cells=32)
"""What the page uses for bands of any width: COARSE's equal cells, cut as often as FINE's.

A narrower posterior (large amplitudes, far-flung inputs) needs the last cut, a wide band many cells to cut: three
examples leave dozens of frequencies open in 0.1 to 20, and there curves may be off by 0.1."""


def zoom(
    parts: Parts, xs: Tensor, targets: Tensor, noise: Noise, resolution: Resolution
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the frequency band into cells that are small where the evidence is.

    Two examples leave most frequencies of a sine open, three leave a handful of isolated ones, four
    leave one, and more pin it down to about 1e-4. No fixed grid serves them all. So: start from
    equal cells; cut those between which the mass (prior probability times evidence) changes most;
    repeat. A cell left whole counts with the evidence at its centre, so that at every stage the
    cells cover the whole band.

    With D intervals among the parts, the band is a box of D dimensions and its cells are boxes. Two
    sinusoids are less well served by it: at 5 to 8 examples, where whole curves of frequency pairs
    stay open, predictions are off by 3e-3 (median) to 7e-2, elsewhere by less than 1e-3.

    Args:
        parts: the latent of at least one of them is an interval.
        xs: inputs, (B, n, 1); n may be 0.
        targets: whitened values, (B, 1, n).
        noise: whitens the features.
        resolution: how many cells, and how often they are cut.

    Returns:
        For each of N cells: its central frequencies (B, N, D), the posterior mean of the weights
        (B, N, F), and the log of its mass (B, N), which is -inf for a cell that was cut.
    """
    bands = [part.interval for part in parts if part.interval]
    shape = [n_cells(band, resolution, len(bands)) for band in bands]
    width = [(band.high - band.low) / count for band, count in zip(bands, shape, strict=True)]
    frequency = centres([band.low for band in bands], width, shape, xs)
    log_volume = xs.new_tensor(-log(prod(shape)))
    cells: list[tuple[Tensor, Tensor, Tensor]] = []
    for level in range(resolution.levels + 1):
        weights, log_evidence = regress(features_of(parts, xs, frequency), targets, noise)
        log_mass = log_evidence + log_volume
        frequency = frequency.expand(len(log_mass), -1, -1)
        if level == resolution.levels:
            cells.append((frequency, weights, log_mass))
            break
        change = _steepest(log_mass.unflatten(1, (-1, *shape)))
        cut = change.topk(min(resolution.keep, change.shape[1]), dim=1).indices
        cells.append((frequency, weights, log_mass.scatter(1, cut, -torch.inf)))
        parent = frequency.gather(1, cut[:, :, None].expand(-1, -1, len(bands)))
        corner = [-step / 2 for step in width]
        shape = [resolution.split] * len(bands)
        width = [step / resolution.split for step in width]
        frequency = (parent[:, :, None] + centres(corner, width, shape, xs)).flatten(1, 2)
        log_volume = log_volume - xs.new_tensor(log(prod(shape)))
    frequencies, all_weights, log_masses = zip(*cells, strict=True)
    return torch.cat(frequencies, 1), torch.cat(all_weights, 1), torch.cat(log_masses, 1)


def n_cells(band: Interval, resolution: Resolution, dimensions: int) -> int:
    """Cells along one band: the fewer, the more bands there are, for their product counts."""
    return max(2, round(resolution.cells * (band.high - band.low) / dimensions**2))


def equal_cells(
    band: Interval, resolution: Resolution, values: Tensor
) -> tuple[Float[Tensor, " cells"], Tensor]:
    """The centres of the equal cells that a band alone is cut into, and the number of the one that each value is in."""
    count = n_cells(band, resolution, 1)
    width = (band.high - band.low) / count
    middles = centres([band.low], [width], [count], values)[0, :, 0]
    return middles, ((values - band.low) / width).long().clamp(0, count - 1)


def centres(corner: list[float], width: list[float], shape: list[int], like: Tensor) -> Tensor:
    """Centres of the cells of a box, (1, N, D), the last dimension running fastest."""
    # As a tensor: on its way to ONNX a Python number is rounded to single precision.
    axes = [
        like.new_tensor([low + step * (i + 0.5) for i in range(count)])
        for low, step, count in zip(corner, width, shape, strict=True)
    ]
    along = [[-1 if d == k else 1 for d in range(len(axes))] for k in range(len(axes))]
    grid = [axis.view(sizes).expand(shape) for axis, sizes in zip(axes, along, strict=True)]
    return torch.stack([coordinate.flatten() for coordinate in grid], -1)[None]


def _steepest(log_mass: Tensor) -> Tensor:
    """Log of the largest change of mass to a neighbour: (B, boxes, m_1, .., m_D) -> (B, N).

    Neighbours share a change, and a flat stretch has none but rounding. Such ties go to the lower
    index, so that every runtime cuts the same cells.
    """
    steepest = torch.full_like(log_mass, -torch.inf)
    for axis in range(2, log_mass.ndim):
        count = log_mass.shape[axis]
        here, there = log_mass.narrow(axis, 0, count - 1), log_mass.narrow(axis, 1, count - 1)
        gap = (here - there).abs().clamp_min(1e-7)
        change = torch.maximum(here, there) + (-torch.expm1(-gap)).log()
        edge = torch.full_like(log_mass.narrow(axis, 0, 1), -torch.inf)
        for sides in ((change, edge), (edge, change)):
            steepest = torch.maximum(steepest, torch.cat(sides, dim=axis))
    flat = steepest.flatten(1)
    return flat - 1e-6 * torch.arange(flat.shape[1], dtype=flat.dtype, device=flat.device)
