"""Sweeps: grids of recipes, each in one readable file, carried out in many processes.

The book's own grids lie beside this file. `python -m icl_lib sweep` runs them, and anyone's; only that needs Ray.
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
