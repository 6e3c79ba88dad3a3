"""A transformer is pretrained on the built page, saved, kept, and shown by the explorer of combinations."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from safetensors import safe_open
from safetensors.torch import save as dump_safetensors

from icl_lib import Mixture, Transformer, bayes, load
from icl_lib.pretraining import CLASSES, CONFIGS, ON_PAGE, STEPS, Pretraining
from icl_lib.weights import FOLDER, trained_on
from icl_lib.widgets import ConvexExplorer, PretrainExplorer
from icl_lib.widgets.combinations import QUERIES

from .conftest import PHONE, Visit
from .test_combinations import open_live, settled

CHAPTER = "notebooks/pretrain.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
Open = Callable[..., Visit]
ROOT = ".icl-pretrain[role=group]"

expect.set_options(timeout=30_000)


def open_chapter(visit: Open, query: str = "", **how: Any) -> Page:
    """The chapter, once its widget stands on the page."""
    page: Page = visit(CHAPTER + query, **how).page
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector(ROOT)
    return page


def icl(page: Page, what: str) -> Any:
    """What the widget says of itself; it hangs its state on the element above its root."""
    return page.locator(ROOT).evaluate(f"root => root.parentElement.icl.{what}")


def button(page: Page, name: str) -> Locator:
    return page.locator(ROOT).get_by_role("button", name=name, exact=True)


def pretrain(page: Page, step: int) -> None:
    """Press the button, and wait until the run pauses at `step`."""
    icl(page, f"pauseAt({step})")
    page.locator(f"{ROOT} .icl-play").click()
    page.wait_for_function(
        f"step => {{ const {{ state }} = document.querySelector('{ROOT}').parentElement.icl;"
        " return state.step === step && !state.running; }",
        arg=step,
    )


def saved(page: Page, folder: Path) -> Transformer:
    """The model as the page saves it, loaded by the library."""
    found = []
    page.on("download", lambda download: found.append(download))
    button(page, "Save as a file").click()
    while len(found) < 2:
        page.wait_for_timeout(50)
    for download in found:
        download.save_as(folder / download.suggested_filename)
    return load(folder)


FORGET = """() => new Promise((resolve, reject) => {
  const request = indexedDB.deleteDatabase('beyond-the-mixture');
  request.onsuccess = resolve;
  request.onerror = request.onblocked = reject;
})"""


@pytest.fixture
def kept_no_longer(visit: Open) -> Iterator[None]:
    """Models that a test keeps in the browser end with the test: pages of other tests share it."""
    yield
    visit("search.html").page.evaluate(FORGET)


def test_it_stands_in_the_still_figures_place(visit: Open) -> None:
    page = open_chapter(visit)
    expect(page.locator(".icl-still")).to_be_hidden()
    expect(page.locator(f"{ROOT} .icl-card")).to_have_count(6)
    expect(page.locator(f"{ROOT} .icl-said")).to_contain_text("Not trained at all")


def test_without_scripts_the_still_figure_stays(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    expect(page.locator(".icl-still")).to_be_visible()
    expect(page.locator(".icl-still .icl-card")).to_have_count(6)


@pytest.mark.parametrize("size", ON_PAGE)
def test_twenty_steps_are_torch_s_and_are_saved_as_a_model_of_the_library(
    visit: Open, tmp_path: Path, size: str
) -> None:
    page = open_chapter(visit, f"?w=0.4_0.3_0.2_0.1&seed=3&size={size}&steps=500")
    pretrain(page, 20)
    numbers = icl(page, "numbers")
    model = saved(page, tmp_path)
    run = Pretraining(seed=3, total=500, config=CONFIGS[size])
    for _ in range(20):
        run.advance([0.4, 0.3, 0.2, 0.1])
    here = run.model()
    assert model.config == here.config
    for name, value in here.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-4, rtol=0, msg=name)
    assert model.card is not None
    assert model.card["steps"] == 20 and model.card["seed"] == 3
    ((step, weights),) = model.card["recipe"]["mixtures"]
    assert step == 0 and weights == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert len(numbers["errors"]) == 4 * 21
    assert here.card is not None  # of a run in Python: it says the same
    assert model.card.keys() - here.card.keys() == {"sha256"}
    assert model.card["name"] == here.card["name"] == f"pretrained-{size}-3-20"
    assert model.card["recipe"].keys() == here.card["recipe"].keys()
    assert model.card["recipe"]["lengths"] == here.card["recipe"]["lengths"]


@pytest.mark.usefixtures("kept_no_longer")
def test_another_size_is_another_run_and_the_explorers_take_it_too(visit: Open) -> None:
    page = open_chapter(visit, "?seed=3&steps=500")
    size = page.get_by_label("Size")
    assert size.locator("option").evaluate_all("all => all.map((one) => one.value)") == list(
        ON_PAGE
    )
    pretrain(page, 2)
    size.select_option("mini")
    expect(button(page, "Pretrain")).to_be_visible()
    page.wait_for_function("location.search.includes('size=mini')")
    pretrain(page, 3)
    button(page, "Take it to the explorers").click()
    expect(page.locator(f"{ROOT} .icl-actions a").first).to_be_visible()
    run = Pretraining(seed=3, total=500, config=CONFIGS["mini"])
    for _ in range(3):
        run.advance([0.5, 0.5, 0.0, 0.0])
    numbers = settled(open_live(visit, "a=0.5&n=20&seed=3&model=yours"))
    inputs = [np.array(numbers[name])[None] for name in ("xs", "ys")] + [QUERIES[None]]
    xs, ys, queries = (torch.tensor(values, dtype=torch.float32) for values in inputs)
    here = run.model().predict_curve(xs[..., None], ys, queries[..., None])[0].detach().numpy()
    np.testing.assert_allclose(numbers["transformer"], here, atol=1e-4)
    page = visit("notebooks/inside.html?model=yours").page
    expect(page.locator(".icl-heads input")).to_have_count(4, timeout=PATIENCE)


def test_the_same_link_gives_the_same_model(visit: Open, tmp_path: Path) -> None:
    models = []
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        page = open_chapter(visit, "?w=0.5_0.5_0_0&seed=5&steps=500")
        pretrain(page, 6)
        models.append(saved(page, tmp_path / str(k)).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_it_learns_pauses_goes_on_and_takes_another_mixture_on_the_way(
    visit: Open, tmp_path: Path
) -> None:
    page = open_chapter(visit, "?w=0.5_0.5_0_0&seed=1&steps=500")
    pretrain(page, 4)
    expect(button(page, "Continue")).to_be_visible()
    page.get_by_label("Weight of the line").fill("0")
    pretrain(page, 8)
    mixtures = saved(page, tmp_path).card["recipe"]["mixtures"]  # type: ignore[index]
    assert [step for step, _ in mixtures] == [0, 4]
    assert mixtures[1][1] == [0, 1, 0, 0]
    assert trained_on(load(tmp_path).card).weights == pytest.approx((0.25, 0.75, 0, 0))
    expect(page.locator(f"{ROOT} .icl-counts tr.is-absent")).to_have_count(3)
    page.get_by_label("Length of the run").select_option("10000")
    pretrain(page, 10)
    (folder := tmp_path / "longer").mkdir()
    model = saved(page, folder)
    assert model.card["recipe"]["lengths"] == [[0, 500], [8, 10_000]]  # type: ignore[index]
    run = Pretraining(seed=1, total=500)
    for step in range(10):
        run.total = 500 if step < 8 else 10_000
        run.advance([0.5, 0.5, 0, 0] if step < 4 else [0, 1, 0, 0])
    for name, value in run.model().state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-4, rtol=0, msg=name)
    button(page, "Start again").click()
    expect(button(page, "Pretrain")).to_be_visible()
    assert icl(page, "state.step") == 0
    expect(page.locator(f"{ROOT} .icl-said")).to_contain_text("Not trained at all")
    assert icl(page, "numbers.step")[0] == 0


def test_a_line_bears_its_name_once_it_has_left_the_axis(visit: Open) -> None:
    page = open_chapter(visit, "?w=0.5_0.5_0_0&seed=7&steps=500")
    names = page.locator(f"{ROOT} .icl-plot .icl-name:visible")
    pretrain(page, 5)
    expect(names).to_have_count(0)
    pretrain(page, 80)
    expect(names).to_have_text(["line", "sine"])
    heights = sorted(float(name.get_attribute("y").rstrip("%")) for name in names.all())
    assert heights[1] - heights[0] >= 6


def test_exact_bayes_is_that_of_the_mixture_of_the_moment(visit: Open) -> None:
    page = open_chapter(visit, "?w=1_0_0_0&seed=1&steps=500")
    page.wait_for_function(f"document.querySelector('{ROOT}').parentElement.icl.numbers")
    before = np.reshape(icl(page, "numbers.floor"), (4, -1))
    assert before[0, -1] < 1e-6 < 0.05 < before[1, -1]
    told = f"document.querySelector('{ROOT}').parentElement.icl.numbers.floor.join()"
    was = page.evaluate(told)
    page.get_by_label("Weight of the sine").fill("1")
    page.wait_for_function(f"was => {told} !== was", arg=was)
    after = np.reshape(icl(page, "numbers.floor"), (4, -1))
    assert after[1, -1] < 1e-3


def test_a_hidden_tab_pauses_and_says_so(visit: Open) -> None:
    page = open_chapter(visit, "?seed=1&steps=500")
    button(page, "Pretrain").click()
    page.wait_for_function(f"document.querySelector('{ROOT}').parentElement.icl.state.step > 0")
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(hide, True)
    expect(page.locator(f"{ROOT} .icl-note")).to_contain_text("Paused")
    assert not icl(page, "state.running")
    page.evaluate(hide, False)
    assert icl(page, "state.running")
    button(page, "Pause").click()


def test_a_phone_is_offered_fewer_steps_and_told_of_its_battery(visit: Open) -> None:
    page = open_chapter(visit, size=PHONE, touch=True)
    assert icl(page, "state.total") == min(STEPS)
    button(page, "Pretrain").tap()
    expect(page.locator(f"{ROOT} .icl-note")).to_contain_text("battery")
    button(page, "Pause").tap()


@pytest.mark.usefixtures("kept_no_longer")
def test_the_explorer_shows_what_was_pretrained_here(visit: Open, tmp_path: Path) -> None:
    page = open_chapter(visit, "?w=0.2_0.2_0.6_0&seed=7&steps=500")
    pretrain(page, 5)
    model = saved(page, tmp_path)
    kinds = [CLASSES[name] for name in ("line", "sine", "quadratic")]
    prior = Mixture(tuple(kinds), (0.2, 0.2, 0.6))

    def bayes_of(numbers: dict[str, Any]) -> Any:
        """Exact Bayes with the prior of the very mixture that the model has met."""
        xs, ys, queries = (
            torch.tensor(numbers[key], dtype=torch.float64)[None] for key in ("xs", "ys", "queries")
        )
        return bayes.posterior_curve(prior, xs[..., None], ys, queries[..., None])

    button(page, "Take it to the explorers").click()
    links = page.locator(f"{ROOT} .icl-actions a")
    expect(links.first).to_be_visible()
    assert "model=yours" in (links.first.get_attribute("href") or "")
    page = open_live(visit, "a=0.5&n=2&seed=3&model=yours")
    page.wait_for_function("document.querySelector('[data-stage]').icl.numbers?.prior")
    numbers = settled(page)
    exact, believed = bayes_of(numbers)
    np.testing.assert_allclose(numbers["mixture"], exact[0].numpy(), atol=2e-3)
    np.testing.assert_allclose(numbers["probability"][:3], believed[0].numpy(), atol=1e-3)
    expect(page.locator(".icl-posterior > span:first-child")).to_have_text(
        ["P(line)", "P(sine)", "P(quadratic)"]
    )
    expect(page.get_by_text("prior: its own mixture")).to_be_visible()
    inputs = [np.array(numbers[name])[None] for name in ("xs", "ys")] + [QUERIES[None]]
    xs, ys, queries = (torch.tensor(values, dtype=torch.float32) for values in inputs)
    here = model.predict_curve(xs[..., None], ys, queries[..., None])[0].numpy()
    np.testing.assert_allclose(numbers["transformer"], here, atol=1e-5)
    expect(page.get_by_label("Transformer pretrained on")).to_have_value("yours")
    expect(page.get_by_text("shaded: trained on 1 to 3")).to_be_visible()

    page = visit("notebooks/frequency_extrapolation.html?model=yours&freq=2&n=20&seed=3").page
    page.wait_for_selector("[data-stage=live]", timeout=PATIENCE)
    page.wait_for_function("document.querySelector('[data-stage]').icl.numbers?.prior")
    numbers = page.evaluate(
        """() => { const { numbers } = document.querySelector('[data-stage]').icl;
        const keys = ['xs', 'ys', 'queries', 'transformer', 'mixture'];
        return Object.fromEntries(keys.map((key) => [key, Array.from(numbers[key])])); }"""
    )
    xs, ys, queries, found = (
        torch.tensor(numbers[key], dtype=torch.float32)[None]
        for key in ("xs", "ys", "queries", "transformer")
    )
    here = model.predict_curve(xs[..., None], ys, queries[..., None])
    torch.testing.assert_close(found, here, atol=1e-5, rtol=0)
    np.testing.assert_allclose(numbers["mixture"], bayes_of(numbers)[0][0].numpy(), atol=2e-3)
    expect(page.get_by_text("shaded: trained on 1 to 3")).to_be_visible()


@pytest.mark.usefixtures("kept_no_longer")
def test_a_model_s_file_is_opened_and_what_is_none_is_refused(visit: Open, tmp_path: Path) -> None:
    page = open_live(visit, "a=0.5&n=20&seed=3")
    before = settled(page)
    chooser = page.locator("input[type=file]")
    note = page.locator(".icl-explorer[role=group] .icl-note")
    for name, content, why in (
        ("short.safetensors", b"abc", "too short"),
        ("long.safetensors", (10**6).to_bytes(8, "little") + b"{}", "longer than the file"),
        ("broken.safetensors", (2).to_bytes(8, "little") + b"{]", "header is damaged"),
        ("empty.safetensors", (2).to_bytes(8, "little") + b"{}", "no weights"),
        ("null.safetensors", (4).to_bytes(8, "little") + b"null", "no weights"),
        (
            "odd.safetensors",
            (23).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}',
            "does not say where",
        ),
    ):
        chooser.set_input_files({"name": name, "mimeType": "", "buffer": content})
        expect(note).to_contain_text(why)
    chooser.set_input_files(FOLDER / "dense-tiny.safetensors")
    expect(note).to_contain_text("read_in.weight")
    with safe_open(FOLDER / "sine-tiny.safetensors", framework="pt") as file:
        told = json.loads(file.metadata()["model"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    for change, why in (
        ({"model": json.dumps(told | {"heads": 4})}, "its heads should be 2, and is 4"),
        ({}, "does not say which model"),
    ):
        buffer = dump_safetensors(tensors, metadata=change)
        chooser.set_input_files({"name": "x.safetensors", "mimeType": "", "buffer": buffer})
        expect(note).to_contain_text(why)
    broken = tensors | {"norm.bias": tensors["norm.bias"] * torch.nan}
    buffer = dump_safetensors(broken, metadata={"model": json.dumps(told)})
    chooser.set_input_files({"name": "x.safetensors", "mimeType": "", "buffer": buffer})
    expect(note).to_contain_text("no finite number")
    whole = (FOLDER / "sine-tiny.safetensors").read_bytes()
    chooser.set_input_files({"name": "cut.safetensors", "mimeType": "", "buffer": whole[:-8]})
    expect(note).to_contain_text("is cut off")
    assert settled(page)["model"] == before["model"]

    chooser.set_input_files(FOLDER / "sine-tiny.safetensors")
    page.wait_for_function(
        "document.querySelector('.icl-explorer[role=group]').parentElement.icl.state.model === 'yours'"
    )
    expect(page.get_by_text("its training band is not known here")).to_be_visible()
    expect(page.get_by_text("prior: the book’s")).to_be_visible()
    numbers = settled(page)
    inputs = [np.array(numbers[name])[None] for name in ("xs", "ys")] + [QUERIES[None]]
    xs, ys, queries = (torch.tensor(values, dtype=torch.float32) for values in inputs)
    here = load("sine-tiny").predict_curve(xs[..., None], ys, queries[..., None])[0].numpy()
    np.testing.assert_allclose(numbers["transformer"], here, atol=1e-4)


def test_the_card_s_layout_is_the_file_s(visit: Open, tmp_path: Path) -> None:
    """The graphs of the page count from the end of the header: files of one shape have one order."""
    page = open_chapter(visit, "?seed=1&steps=500")
    pretrain(page, 1)
    saved(page, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    data = path.read_bytes()
    ours = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    shipped = (FOLDER / "sine-tiny.safetensors").read_bytes()
    theirs = json.loads(shipped[8 : 8 + int.from_bytes(shipped[:8], "little")])
    begins = {
        name: entry["data_offsets"][0] for name, entry in theirs.items() if "_" not in name[:2]
    }
    assert sorted(begins, key=lambda name: begins[name]) == sorted(begins)
    assert {name: 2 * begin for name, begin in begins.items()} == {
        name: entry["data_offsets"][0] for name, entry in ours.items() if "_" not in name[:2]
    }


NOTEBOOK = """async ([source, traits]) => {
  // A notebook, not the book: no content_root, and a kernel that is this test's own process.
  document.body.innerHTML = '<div id="view"></div>';
  delete document.documentElement.dataset.content_root;
  const listeners = [];
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
  const model = {
    get: (name) => traits[name], set() {}, save_changes() {}, off() {},
    on: (name, f) => name === 'msg:custom' && listeners.push(f),
    async send(content, callbacks, given = []) {
      const sent = given.map((buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))));
      for (const [answer, buffers] of await window.kernel(content, sent)) {
        for (const listener of listeners) listener(answer, buffers.map(bytes));
      }
    },
  };
  const module = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
  module.default.render({ model, el: document.getElementById('view') });
}"""


def in_notebook(visit: Open, widget: Any) -> Page:
    """A widget as in a running notebook, whose kernel is this process."""

    def kernel(content: dict[str, Any], buffers: list[str]) -> list[Any]:
        sent: list[Any] = []
        widget.send = lambda content, buffers=(): sent.append(
            [content, [base64.b64encode(buffer).decode() for buffer in buffers]]
        )
        widget._handle_custom_msg(content, [memoryview(base64.b64decode(one)) for one in buffers])
        return sent

    widget.still()
    traits = {
        name: getattr(widget, name)
        for name in widget.trait_names(sync=True)
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip")
    }
    page: Page = visit(
        "book/licences.html", prepare=lambda page: page.expose_function("kernel", kernel)
    ).page
    page.set_default_timeout(PATIENCE)
    page.evaluate(NOTEBOOK, [widget._esm, traits])
    expect(page.get_by_text("Computed by the running kernel")).to_be_visible()
    return page


def test_in_a_notebook_the_kernel_trains_larger_sizes_and_explorers_take_them(
    visit: Open, tmp_path: Path
) -> None:
    widget = PretrainExplorer(weights=[0.5, 0.0, 0.5, 0.0])
    page = in_notebook(visit, widget)
    size = page.get_by_label("Size")
    assert size.locator("option").evaluate_all("all => all.map((one) => one.value)") == list(
        CONFIGS
    )
    size.select_option("slim")
    pretrain(page, 3)
    expect(page.locator(f"{ROOT} .icl-said")).to_contain_text("After 3 of 1,000 steps")
    model, here = saved(page, tmp_path), widget.model()
    assert model.config == CONFIGS["slim"]
    for name, value in here.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)
    assert model.card is not None and here.card is not None
    assert model.card["name"] == here.card["name"] == "pretrained-slim-2-3"

    explorer = in_notebook(visit, ConvexExplorer(model=here)).locator(".icl-explorer[role=group]")
    expect(explorer.get_by_text("prior: its own mixture")).to_be_visible()
    expect(explorer.locator(".icl-posterior > span:first-child")).to_have_text(
        ["P(line)", "P(quadratic)"]
    )
    expect(explorer.get_by_text("trained on no sines")).to_be_visible()
    expect(explorer.locator(".icl-said")).to_contain_text("exact Bayes is certain of a quadratic")
