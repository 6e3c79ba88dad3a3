"""Load and save trained models: weights as safetensors, beside them a card in JSON. Nothing is pickled.

The card says what the weights are: the recipe with all its settings, seed, steps, versions, final losses, and
the SHA-256 of the weights' file, which `load` checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save_file

from icl_lib.model import Transformer, TransformerConfig
from icl_lib.training import Parent, Run, write_whole

FOLDER = Path(__file__).with_name("weights")
_FORMAT = "beyond-the-mixture/1"
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
    folder: str | os.PathLike[str] = FOLDER,
    *,
    dtype: torch.dtype = torch.float32,
    evaluation: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run's model as `name`.safetensors and its card as `name`.json, each whole or not at all.

    Args:
        run: a finished run.
        name: see `recipes` for how names are made.
        folder: where to.
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
    metadata = {"format": _FORMAT, "model": json.dumps(asdict(run.setting.model))}
    write_whole(path, lambda part: save_file(tensors, part, metadata=metadata))
    last = run.losses[-200:]
    card = {
        "format": _FORMAT,
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
    text = json.dumps(card, indent=2) + "\n"
    write_whole(path.with_suffix(".json"), lambda part: part.write_text(text))
    return path


def parent(name: str, folder: str | os.PathLike[str] = FOLDER) -> Parent:
    """The model `name` as the one that a further run starts from.

    Raises:
        WeightsError: as for `read_card`.
    """
    card = read_card(name, folder)
    prompts = card.get("prompts", {"all": card["steps"] * card["recipe"]["batch_size"]})
    before = (card["recipe"].get("parent") or {}).get("steps", 0)
    return Parent(card["sha256"], before + card["steps"], sum(prompts.values()))


def read_card(name: str, folder: str | os.PathLike[str] = FOLDER) -> dict[str, Any]:
    """The card of the model `name`.

    Raises:
        WeightsError: no such model, or its card is damaged or foreign.
    """
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        raise WeightsError(
            f"no model {name!r} in {folder}; available: {', '.join(available(folder)) or 'none'}"
        )
    try:
        card = json.loads(path.read_text())
    except ValueError as error:
        raise WeightsError(f"{path.name} is damaged: not JSON ({error})") from error
    if not isinstance(card, dict) or card.get("format") != _FORMAT:
        raise WeightsError(
            f"{path.name} is not a card of this library: it lacks format {_FORMAT!r}"
        )
    missing = [key for key in _CARD_KEYS if key not in card]
    if missing:
        raise WeightsError(f"{path.name} is damaged: it lacks {', '.join(missing)}")
    return card


def load(name: str, folder: str | os.PathLike[str] = FOLDER) -> Transformer:
    """The trained model `name`, in evaluation mode, float32, with its card as `.card`.

    Args:
        name: one of `available()`.
        folder: where weights and card lie.

    Raises:
        WeightsError: an unknown name; a missing, damaged or foreign file. The message says which and why.
    """
    card = read_card(name, folder)
    path = Path(folder) / f"{name}.safetensors"
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
        model = Transformer(TransformerConfig(**shape))
        model.load_state_dict(
            {key: value.float() for key, value in parse_safetensors(data).items()}
        )
    except Exception as error:
        raise WeightsError(
            f"{path.name} does not hold the model that its card describes: {error}"
        ) from error
    model.card = card
    return model.eval().requires_grad_(False)
