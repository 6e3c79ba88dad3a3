"""Load and save trained models: weights as safetensors, beside them a card in JSON. Nothing is pickled.

What is asked for is a name of a shipped model, a path, or a model itself: a path is that of a safetensors file, or of a
folder with one finished model in it, such as a run's.

The card says what the weights are: the recipe with all its settings, seed, steps, versions, final losses, and
the SHA-256 of the weights' file, which `load` checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save_file

from icl_lib._validate import nearest
from icl_lib.model import Transformer, TransformerConfig
from icl_lib.samplers import FunctionClass, undescribe
from icl_lib.training import CHECKPOINT, Parent, Run, write_whole

FOLDER = Path(__file__).with_name("weights")
FORMAT = "beyond-the-mixture/1"
_CARD_KEYS = ("name", "recipe", "seed", "steps", "parameters", "sha256")


class WeightsError(ValueError):
    """A weights file or its card is missing, damaged or not one of this library's."""


def available(folder: str | os.PathLike[str] = FOLDER) -> list[str]:
    """Names of the models in `folder`, by default those shipped with the library."""
    found = Path(folder)
    cards, files = ({p.stem for p in found.glob(f"*.{kind}")} for kind in ("json", "safetensors"))
    return sorted(cards & files)


def save(
    run: Run,
    name: str,
    folder: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    evaluation: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run's model as `name`.safetensors and its card as `name`.json, each whole or not at all.

    Args:
        run: a finished run.
        name: see `recipes` for how names are made.
        folder: where to, such as the run's own folder; `load` takes that path.
        dtype: of the weights on disk, a floating type; `load` returns float32 in any case.
        evaluation: final measurements, kept in the card as they are.

    Returns:
        The path of the weights.

    Raises:
        ValueError: the run has steps left or no end, or `dtype` is not a floating type.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    if run.setting.steps is None:
        raise ValueError(
            f"the run has done {run.step} steps at a constant rate and has no end; anneal it before saving"
        )
    if run.step < run.setting.steps:
        raise ValueError(
            f"the run has done {run.step} of {run.setting.steps} steps; finish it before saving"
        )
    path = Path(folder) / f"{name}.safetensors"
    tensors = {
        key: value.detach().cpu().to(dtype).contiguous()
        for key, value in run.model.state_dict().items()
    }
    metadata = {"format": FORMAT, "model": json.dumps(asdict(run.setting.model))}
    write_whole(path, lambda part: save_file(tensors, part, metadata=metadata))
    last = run.losses[-200:]
    card = {
        "format": FORMAT,
        "name": name,
        "recipe": run.setting.as_dict(),
        "seed": run.setting.seed,
        "steps": run.step,
        "prompts": run.setting.phases(run.step),
        "parameters": sum(value.numel() for value in tensors.values()),
        "dtype": str(dtype).removeprefix("torch."),
        "training_loss": {"mean_of_last_steps": sum(last) / len(last), "steps": len(last)},
        "evaluation": evaluation or {},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "safetensors")},
        },
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    text = json.dumps(card, indent=1) + "\n"
    write_whole(path.with_suffix(".json"), lambda part: part.write_text(text))
    return path


def parent(model: str | os.PathLike[str]) -> Parent:
    """A trained model, by name or path, as the one that a further run starts from.

    Raises:
        WeightsError: as for `read_card`.
    """
    card = read_card(model)
    before = (card["recipe"].get("parent") or {}).get("steps", 0)
    return Parent(card["sha256"], before + card["steps"], prompts_met(card))


def prompts_met(card: Mapping[str, Any]) -> int:
    """On how many prompts the model of a card was trained, those of the model that it started from among them."""
    phases = card.get("prompts", {"all": card["steps"] * card["recipe"]["batch_size"]})
    return sum(phases.values())


def locate(model: str | os.PathLike[str]) -> Path:
    """The weights' file of a trained model: of a shipped one by its name, of another by its path.

    Args:
        model: one of `available()`; a safetensors file; or a folder with one finished model in it.

    Raises:
        WeightsError: there is none; the message says what is near and what is accepted.
    """
    path = Path(model)
    if isinstance(model, str) and path.name == model and model in available():
        return FOLDER / f"{model}.safetensors"
    if path.is_dir():
        found = available(path)
        if len(found) == 1:
            return path / f"{found[0]}.safetensors"
        if found:
            raise WeightsError(
                f"{path} holds {len(found)} models; give the file of one: {', '.join(found)}"
            )
        raise WeightsError(
            f"{path} holds no finished model"
            + (
                "; its run has yet to end, or to be annealed"
                if (path / CHECKPOINT).exists()
                else ""
            )
        )
    if path.suffix == ".safetensors" and (path.is_file() or path.with_suffix(".json").is_file()):
        return path
    raise WeightsError(
        f"no model {os.fspath(model)!r}{nearest(os.fspath(model), available())}. Accepted are a shipped name, a "
        "safetensors file, a folder with one in it, and a Transformer"
    )


def read_card(model: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a trained model, by name or path as for `locate`.

    Raises:
        WeightsError: no such model, or its card is missing, damaged or foreign.
    """
    path = locate(model).with_suffix(".json")
    if not path.is_file():
        raise WeightsError(f"{path.name}, the model's card, is missing in {path.parent}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path.name} is damaged: not JSON ({error})") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise WeightsError(f"{path.name} is not a card of this library: it lacks format {FORMAT!r}")
    missing = [key for key in _CARD_KEYS if key not in card]
    if missing:
        raise WeightsError(f"{path.name} is damaged: it lacks {', '.join(missing)}")
    return card


def trained_on(card: Mapping[str, Any]) -> FunctionClass:
    """The function class that the model of a card was pretrained on.

    Raises:
        WeightsError: a class that is not known here; import the module that defines it first.
    """
    try:
        return undescribe(card["recipe"]["function_class"])
    except ValueError as error:
        raise WeightsError(
            f"the card of {card['name']!r} does not say what it was trained on: {error}"
        ) from error


def load(model: str | os.PathLike[str] | Transformer) -> Transformer:
    """A trained model, in evaluation mode, float32, with its card as `.card`; a Transformer is returned as it is.

    Args:
        model: one of `available()`; the path of a safetensors file or of a folder with one finished model in it, such
            as a run's; or a model.

    Raises:
        WeightsError: an unknown name; a missing, damaged or foreign file. The message says which and why.
    """
    if isinstance(model, Transformer):
        return model
    path, card = locate(model), read_card(model)
    if not path.is_file():
        raise WeightsError(f"{path.name} is missing beside its card")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != card["sha256"]:
        raise WeightsError(
            f"{path.name} is damaged or foreign: its SHA-256 is {digest}, the card says {card['sha256']}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["model"])
        told = {key: value for key, value in card["recipe"]["model"].items() if key != "class"}
        if shape != told:
            raise ValueError(f"the weights are of {shape}, the card says {told}")
        found = Transformer(TransformerConfig(**shape))
        found.load_state_dict(
            {key: value.float() for key, value in parse_safetensors(data).items()}
        )
    except Exception as error:
        raise WeightsError(
            f"{path.name} does not hold the model that its card describes: {error}"
        ) from error
    found.card = card
    return found.eval().requires_grad_(False)
