"""Save and load; what is damaged or foreign is refused; every shipped model is what its card says."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from icl_lib import (
    DenseLinear,
    TransformerConfig,
    WeightsError,
    available,
    load,
    sample_prompts,
    training,
)
from icl_lib.recipes import RECIPES, parts
from icl_lib.training import Parent, Run, Setting, fit
from icl_lib.weights import FOLDER, prompts_met, read_card, save, trained_on

SETTING = Setting(DenseLinear(2), TransformerConfig(2, 5, 1, 2, 16), steps=2, seed=9)


@pytest.fixture
def saved(tmp_path):
    run = fit(SETTING, tmp_path / "run", progress=False)
    save(run, "mine", tmp_path, evaluation={"note": 1})
    return tmp_path, run


def test_a_saved_model_predicts_the_same_when_loaded(saved):
    folder, run = saved
    model = load(folder / "mine.safetensors")
    xs, ys, _ = sample_prompts(DenseLinear(2), 3, 5, seed=0)
    for name, value in run.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    with torch.no_grad():
        assert torch.allclose(model(xs, ys), run.model(xs, ys), atol=1e-6)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.config == SETTING.model
    assert available(folder) == ["mine"]


def test_the_card_holds_everything_that_trained_the_model(saved):
    card = load(saved[0] / "mine.safetensors").card
    assert card["recipe"] == json.loads(json.dumps(SETTING.as_dict()))
    assert (card["seed"], card["steps"], card["evaluation"]) == (9, 2, {"note": 1})
    assert set(card["versions"]) == {"python", "torch", "safetensors"} and len(card["sha256"]) == 64


def test_half_precision_on_disk_loads_as_single(saved):
    folder, run = saved
    save(run, "half", folder, dtype=torch.float16)
    model = load(folder / "half.safetensors")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (folder / "half.safetensors").stat().st_size < (
        folder / "mine.safetensors"
    ).stat().st_size


def test_only_floating_types_are_saved(saved):
    with pytest.raises(ValueError, match=r"floating type, got torch\.int32"):
        save(saved[1], "whole", saved[0], dtype=torch.int32)


def test_an_unfinished_run_is_not_saved_as_a_model(saved):
    saved[1].step = 1
    with pytest.raises(ValueError, match="1 of 2 steps"):
        save(saved[1], "early", saved[0])
    with pytest.raises(ValueError, match=r"6 steps at a constant rate .* anneal it before saving"):
        save(replace(Run.start(replace(SETTING, steps=None)), step=6), "open", saved[0])


def flip_a_byte(folder):
    path = folder / "mine.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def tell_another_shape(folder):
    card = read_card(folder / "mine.safetensors")
    card["recipe"]["model"]["heads"] = 4
    (folder / "mine.json").write_text(json.dumps(card))


def lose_the_hash(folder):
    card = read_card(folder / "mine.safetensors")
    del card["sha256"]
    (folder / "mine.json").write_text(json.dumps(card))


def swap_in_foreign_tensors(folder):
    path = folder / "mine.safetensors"
    save_file({"someone.elses": torch.zeros(3)}, path)
    import hashlib

    card = read_card(folder / "mine.safetensors") | {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
    }
    (folder / "mine.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, r"mine\.safetensors is damaged or foreign: its SHA-256 is"),
        (lambda folder: (folder / "mine.safetensors").unlink(), r"mine\.safetensors is missing"),
        (lambda folder: (folder / "mine.json").write_text("{"), r"mine\.json is damaged: not JSON"),
        (
            lambda folder: (folder / "mine.json").write_text("{}"),
            r"mine\.json is not a card of this library",
        ),
        (
            swap_in_foreign_tensors,
            r"mine\.safetensors does not hold the model that its card describes",
        ),
        (tell_another_shape, r"mine\.safetensors does not hold .* 'heads': 2.* 'heads': 4"),
        (lose_the_hash, r"mine\.json is damaged: it lacks sha256"),
        (
            lambda folder: (folder / "mine.json").unlink(),
            r"mine\.json, the model's card, is missing in",
        ),
        (
            lambda folder: (folder / "mine.safetensors").unlink(),
            r"mine\.safetensors is missing beside its card",
        ),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_name_and_reason(saved, damage, message):
    damage(saved[0])
    with pytest.raises(WeightsError, match=message) as refusal:
        load(saved[0] / "mine.safetensors")
    assert isinstance(refusal.value, ValueError)


def test_a_model_is_found_by_the_path_of_its_folder_or_file_or_is_itself(saved):
    folder, run = saved
    for way in (folder, str(folder), folder / "mine.safetensors", f"{folder}/mine.safetensors"):
        assert torch.equal(load(way).read_in.weight, run.model.read_in.weight)
    model = load(folder)
    assert load(model) is model
    assert trained_on(model.card) == SETTING.function_class
    save(run, "other", folder)
    with pytest.raises(WeightsError, match="holds 2 models; give the file of one: mine, other"):
        load(folder)
    with pytest.raises(WeightsError, match=r"holds no finished model; its run has yet to end"):
        load(folder / "run")
    (folder / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"empty holds no finished model$"):
        load(folder / "empty")


def test_an_unknown_name_is_refused_with_the_nearest_and_what_is_accepted():
    with pytest.raises(WeightsError, match=r"'lin-tiny'; did you mean line-tiny .* a safetensors"):
        load("lin-tiny")
    with pytest.raises(WeightsError, match=r"no model 'runs/nowhere'.* a shipped name, "):
        load("runs/nowhere")


def test_every_card_says_what_its_model_was_trained_on():
    for name in available():
        assert trained_on(read_card(name)) == RECIPES[name].function_class, name
    card = read_card(available()[0])
    card["recipe"]["function_class"] = {"class": "Cubic"}
    with pytest.raises(WeightsError, match=r"class of .*ConvexCombination, .*, got 'Cubic'"):
        trained_on(card)


def test_every_shipped_model_is_made_by_its_recipe():
    # Weights of a recipe without an end, or of one for a GPU, come when there has been the time.
    waiting = {
        name
        for name, setting in RECIPES.items()
        if setting.steps is None or parts(name)[1:] == ("standard", "")
    }
    assert set(RECIPES) - waiting <= set(available()) <= set(RECIPES)
    for name in available():
        card, setting = load(name).card, RECIPES[name]
        assert card["name"] == name
        if setting.steps is None:
            older = dict(card["recipe"].get("parent") or {})
            if older:  # weights that were gone on from
                del older["class"]
                setting = setting.extended(Parent(**older))
                assert card["prompts"]["before"] == older["prompts"]
                met = card["steps"] * setting.batch_size + older["prompts"]
                assert prompts_met(card) == met
            falling = round(card["recipe"]["decay"] * card["steps"])
            setting = setting.annealed(card["steps"] - falling, falling)
        assert training._defaults() | card["recipe"] == json.loads(json.dumps(setting.as_dict())), (
            name
        )
        assert card["steps"] == setting.steps
        assert (FOLDER / f"{name}.safetensors").stat().st_size < 20 * 2**20, name


def test_a_name_tells_mixture_size_and_what_differs():
    assert parts("line-tiny") == ("line", "tiny", "")
    assert parts("fast+line+sine-0.01-tiny") == ("fast+line+sine-0.01", "tiny", "")
    assert parts("line+sine-0.5-standard-brief") == ("line+sine-0.5", "standard", "brief")
    with pytest.raises(ValueError, match=r"with a size of mini, tiny, .*; got 'line\+sine-0\.5'"):
        parts("line+sine-0.5")
