"""A grid of recipes in one readable file: what differs between its runs, what they share, what they are measured on."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from icl_lib._validate import check_count, check_fraction, nearest
from icl_lib.model import SIZES
from icl_lib.samplers import FunctionClass, Mixture, check_seed, describe, undescribe
from icl_lib.training import Setting

FOLDER = Path(__file__).parent
"""Where the book's own grids lie."""

_DIGITS = 12  # of a recipe's hash: two of a million runs share them with a chance of one in 500
_OF_A_SETTING = tuple(
    f.name for f in fields(Setting) if f.name not in ("function_class", "model", "parent")
)
PARAMETERS = ("mixture", "weight", "size", "max_examples", *_OF_A_SETTING)
"""What may differ between the runs of a grid: `grid` lists values of it, or `every` has one."""

_TABLES = {"about": str, "classes": Mapping, "grid": Mapping, "every": Mapping, "tests": Mapping}
_NEEDED = ("mixture", "size", "max_examples", "steps")


class GridError(ValueError):
    """A grid's file says something that no sweep can be made of."""


@dataclass(frozen=True)
class Tests:
    """What finished models are measured on.

    Args:
        functions: classes to draw the functions from, by name.
        examples: numbers of in-context examples after which the error is taken.
        n_prompts: prompts of each class.
        seed: an evaluation seed.
    """

    functions: Mapping[str, FunctionClass]
    examples: tuple[int, ...]
    n_prompts: int = 256
    seed: int = 0

    def digest(self) -> str:
        """A name for these measurements: others have another."""
        classes = [[name, describe(function)] for name, function in self.functions.items()]
        return _digest([classes, list(self.examples), self.n_prompts, self.seed])


@dataclass(frozen=True)
class Member:
    """One run of a grid.

    Args:
        name: the hash of its recipe, which names its folder.
        differs: what tells it apart from the grid's other runs.
        setting: its recipe.
    """

    name: str
    differs: Mapping[str, Any]
    setting: Setting


@dataclass(frozen=True)
class Grid:
    """A grid as its file has it.

    Args:
        name: the file's, without its ending.
        about: what it is for, in a sentence.
        members: its runs; no two have one recipe.
        tests: what each finished model is measured on.
    """

    name: str
    about: str
    members: tuple[Member, ...]
    tests: Tests


def in_words(member: Member) -> str:
    """What tells a run apart: line+sine, weight 0.5, seed 12."""
    return ", ".join(
        str(value) if key in ("mixture", "size") else f"{key} {_plain(value)}"
        for key, value in member.differs.items()
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {part}" for key, part in value.items())
    return str(value)


def recipe_hash(setting: Setting) -> str:
    """A short name for a recipe: equal recipes, and only they, have the same."""
    return _digest(setting.as_dict())


def _digest(plain: Any) -> str:
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def available() -> list[str]:
    """Names of the book's own grids."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(file: str | os.PathLike[str]) -> Grid:
    """The grid of a file, or one of the book's own by its name.

    Args:
        file: the path of a TOML file, or one of `available()`.

    Raises:
        GridError: there is no such file, or it says something that no sweep can be made of; the message says what was
            given and what is accepted.
    """
    path = Path(file)
    if os.fspath(file) in available():
        path = FOLDER / f"{file}.toml"
    elif path.suffix != ".toml":
        raise GridError(
            f"no grid is called {os.fspath(file)!r}{nearest(os.fspath(file), available())}; the book's own are "
            f"{', '.join(available())}, and a file that ends in .toml is a grid of your own"
        )
    try:
        with path.open("rb") as opened:
            plain = tomllib.load(opened)
        return parse(plain, path.stem)
    except (OSError, ValueError) as error:
        raise GridError(f"{path}: {error}") from None


def parse(plain: Mapping[str, Any], name: str) -> Grid:
    """The grid that a file's tables describe.

    Args:
        plain: as TOML has them: about, classes, grid, every, tests.
        name: what the grid is called.

    Raises:
        GridError: something is missing, unknown, or of the wrong kind.
        ValueError: a recipe, a class or a size refuses its values.
    """
    _known("the file", plain, _TABLES)
    for table, kind in _TABLES.items():
        if table not in plain and table != "every":
            raise GridError(f"there must be {_what(table)}, but only {', '.join(plain)} are there")
        if not isinstance(plain.get(table, {} if table == "every" else ""), kind):
            raise GridError(f"{table} must be {_what(table)}, got {plain[table]!r}")
    classes = _classes(plain["classes"])
    axes, shared = plain["grid"], plain.get("every", {})
    _known("[grid]", axes, PARAMETERS)
    _known("[every]", shared, PARAMETERS)
    if twice := sorted(set(axes) & set(shared)):
        raise GridError(f"{', '.join(twice)} must stand in [grid] or in [every], not in both")
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise GridError(f"{axis} in [grid] must be a list of values, got {values!r}")
    if lacking := [key for key in _NEEDED if key not in axes and key not in shared]:
        raise GridError(f"{', '.join(lacking)} must stand in [grid] or in [every]")
    members: dict[str, Member] = {}
    for values in product(*axes.values()):
        differing = dict(zip(axes, values, strict=True))
        setting = _setting({**shared, **differing}, classes)
        # A mixture's weight of 1 and the class alone are one recipe, and one run.
        members.setdefault(recipe_hash(setting), Member(recipe_hash(setting), differing, setting))
    return Grid(
        name, plain["about"], tuple(members.values()), _tests(plain["tests"], classes, members)
    )


def _what(table: str) -> str:
    return "a sentence `about` the grid" if table == "about" else f"a table [{table}]"


def _known(
    where: str, given: Mapping[str, Any], accepted: Sequence[str] | Mapping[str, Any]
) -> None:
    """Refuse names that mean nothing."""
    for key in given:
        if key not in accepted:
            raise GridError(
                f"{where} cannot have {key!r}{nearest(key, accepted)}; accepted are {', '.join(accepted)}"
            )


def _classes(plain: Mapping[str, Any]) -> dict[str, FunctionClass]:
    found = {}
    for name, description in plain.items():
        if "+" in name:
            raise GridError(
                f"a class's name must be without a plus, which joins a mixture's; got {name!r}"
            )
        made = undescribe(description)
        if not isinstance(made, FunctionClass):
            raise GridError(
                f'{name} in [classes] must be a table such as {{class = "DenseLinear", dim = 1}}, got {description!r}'
            )
        found[name] = made
    if not found:
        raise GridError("[classes] must name at least one class of functions")
    return found


def _mixture(names: Any, weight: Any, classes: Mapping[str, FunctionClass]) -> FunctionClass:
    """Classes joined by a plus, the first with this weight, the others with equal parts of the rest."""
    if not isinstance(names, str):
        raise GridError(f"a mixture must be written as {'+'.join(classes)!r} is, got {names!r}")
    parts = names.split("+")
    for part in parts:
        if part not in classes:
            raise GridError(
                f"the mixture {names!r} has no class {part!r} to draw from{nearest(part, classes)}; "
                f"[classes] has {', '.join(classes)}"
            )
    if len(parts) == 1 and weight not in (None, 1):
        raise GridError(f"the weight of {names!r}, a class alone, must be 1, got {weight!r}")
    first = 1 / len(parts) if weight is None else weight
    check_fraction("weight", first)
    rest = (1.0 - first) / max(1, len(parts) - 1)
    weights = [first, *(rest for _ in parts[1:])]
    there = [(classes[part], w) for part, w in zip(parts, weights, strict=True) if w > 0]
    if len(there) == 1:
        return there[0][0]
    return Mixture(tuple(part for part, _ in there), tuple(w for _, w in there))


def _setting(values: Mapping[str, Any], classes: Mapping[str, FunctionClass]) -> Setting:
    """The recipe that these parameters make."""
    function_class = _mixture(values["mixture"], values.get("weight"), classes)
    size = values["size"]
    if not isinstance(size, str) or size not in SIZES:
        raise GridError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    layers, heads, width = SIZES[size]
    model = {
        "dim": function_class.dim,
        "max_examples": values["max_examples"],
        "layers": layers,
        "heads": heads,
        "width": width,
    }
    more = {key: values[key] for key in _OF_A_SETTING if key in values}
    return Setting.from_dict({"model": model, **more, "function_class": function_class})


def _tests(
    plain: Mapping[str, Any], classes: Mapping[str, FunctionClass], members: Mapping[str, Member]
) -> Tests:
    accepted = ("on", "examples", "n_prompts", "seed")
    _known("[tests]", plain, accepted)
    on = plain.get("on", list(classes))
    if not isinstance(on, list) or not on:
        raise GridError(f"on in [tests] must be a list of classes, got {on!r}")
    for name in on:
        if not isinstance(name, str) or name not in classes:
            raise GridError(
                f"on in [tests] has no class {name!r}{nearest(str(name), classes)}; "
                f"[classes] has {', '.join(classes)}"
            )
    examples = plain.get("examples")
    if not isinstance(examples, list) or not examples:
        raise GridError(
            f"examples in [tests] must be a list of numbers of examples, got {examples!r}"
        )
    shortest = min(member.setting.model.max_examples for member in members.values())
    for count in examples:
        check_count("examples in [tests]", count, least=0, most=shortest - 1)
    check_count("n_prompts in [tests]", plain.get("n_prompts", 1))
    check_seed(plain.get("seed", 0))
    functions = {name: classes[name] for name in on}
    for member in members.values():
        wrong = [name for name, f in functions.items() if f.dim != member.setting.model.dim]
        if wrong:
            raise GridError(
                f"all mixtures and tests must be of one dimension: {member.setting.function_class!r} has "
                f"{member.setting.model.dim}, {wrong[0]} has {functions[wrong[0]].dim}"
            )
    more = {key: plain[key] for key in ("n_prompts", "seed") if key in plain}
    return Tests(functions, tuple(examples), **more)
