"""Sweeps: grids of recipes, each in one readable file, carried out in many processes.

The book's own grids lie beside this file. `python -m icl_lib sweep` runs them, and anyone's; only that needs Ray.

Each run is a program of its own. Eight tiny models stacked into one, by `torch.func` (`stack_module_state`, `vmap` over
the models), do not pay on a CPU: the gradients of a batch of 64 prompts for all eight, 41 points each, took one thread
0.97 s one model after the other, in slices of 16 prompts, and 1.20 s stacked, the fastest of four rounds and of five
ways to cut and differentiate the stack. (PyTorch has no batched form of its fused attention, so attention was written
out; left as it is, it took 1.19 times as long as one after the other, in another run.) The gradients agreed within
4e-7. A tiny model's matrix products fill a core as they are. On a GPU they would not; there, runs can share one.
"""

from icl_lib.sweeps.grid import (
    Grid,
    GridError,
    Member,
    Tests,
    available,
    in_words,
    read,
    recipe_hash,
)

__all__ = ["Grid", "GridError", "Member", "Tests", "available", "in_words", "read", "recipe_hash"]
