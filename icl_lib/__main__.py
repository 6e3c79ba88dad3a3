"""Train, evaluate and export the book's models from the command line: `python -m icl_lib --help`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from icl_lib import __version__, bayes, cluster, parallel, recipes, speed, sweeps, weights
from icl_lib._validate import nearest
from icl_lib.evaluation import Predictor, excess_risk, learning_curves, squared_errors
from icl_lib.model import Transformer
from icl_lib.naming import NO_NAME, told_at_every_prefix
from icl_lib.samplers import ConvexCombination, FunctionClass, Mixture, ReluNetwork, in_words
from icl_lib.sweeps import runs
from icl_lib.training import CHECKPOINT, Parent, Run, Setting, fit, reached, write_whole

# argparse itself exits with 2 on bad usage; the last two are what a shell calls the signals' own.
FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141
_EXAMPLES = """examples:
  python -m icl_lib list
  python -m icl_lib train line+sine-0.5-tiny --folder runs/mine
  python -m icl_lib train mine.toml --steps 3000
  python -m icl_lib train dense+sparse-0.5-small --for 2h
  python -m icl_lib train dense+sparse-0.5-small --anneal 2000
  python -m icl_lib sweep line+sine-tiny --plan
  python -m icl_lib sweep mine.toml --gpus 0.25
  python -m icl_lib evaluate line+sine-0.5-small --csv curves.csv
  python -m icl_lib evaluate runs/mine
  python -m icl_lib export --out site/live
  python -m icl_lib results --check

exit status: 0 done; 1 failed, with the reason on standard error; 2 bad usage; 130 interrupted (train, sweep,
results: the same command resumes)."""


def _classes(function_class: FunctionClass) -> dict[str, FunctionClass]:
    """What a model is evaluated on: each class of its mixture by itself."""
    parts = function_class.classes if isinstance(function_class, Mixture) else (function_class,)
    return {repr(part): part for part in parts}


def _best(function_class: FunctionClass) -> str:
    """What the library's Bayesian of a class is called: exact, but where networks are taken for infinitely wide."""
    match function_class:
        case Mixture(classes=classes):
            approximate = any(_best(part) != "Bayes" for part in classes)
        case ConvexCombination(first=first, second=second):
            approximate = any(_best(part) != "Bayes" for part in (first, second))
        case _:
            approximate = isinstance(function_class, ReluNetwork)
    return "approximate Bayes" if approximate else "Bayes"


def _compare(model: Transformer, setting: Setting, n_prompts: int, seed: int) -> pd.DataFrame:
    """Learning curves of the model and of Bayes for its own training distribution, on each of its classes.

    A model that knows names is not told any: Bayes is not either.
    """
    function_class, noise = setting.function_class, setting.noise
    best = _best(function_class)
    predictors: dict[str, Predictor] = {
        "transformer": told_at_every_prefix(model, NO_NAME) if setting.named else model,
        best: bayes.predictor(function_class, noise=noise),
    }
    tables = []
    for name, part in _classes(function_class).items():
        errors = squared_errors(
            predictors,
            part,
            n_examples=model.config.max_examples - (setting.named > 0),
            n_prompts=n_prompts,
            seed=seed,
            noise=noise,
        )
        table = learning_curves(errors).merge(
            excess_risk(errors, best),
            on=["predictor", "n_examples"],
            how="left",
            suffixes=("", "_excess"),
        )
        tables.append(table.assign(function_class=name))
    return pd.concat(tables, ignore_index=True)


def _card_figures(table: pd.DataFrame) -> dict[str, Any]:
    """The rows of `_compare` that a model card keeps."""
    rows = table[(table.predictor == "transformer") & table.n_examples.isin((5, 10, 20, 40))]
    figures: dict[str, Any] = {}
    for row in rows.to_dict("records"):
        figures.setdefault(row["function_class"], {})[str(row["n_examples"])] = {
            key: float(f"{row[key]:.6g}")
            for key in ("mse", "excess", "ci_low_excess", "ci_high_excess")
        }
    return figures


def _list(_: argparse.Namespace) -> None:
    shipped = set(weights.available())
    rows = []
    for name in sorted(shipped | set(recipes.RECIPES)):
        recipe = recipes.RECIPES.get(name)
        card = weights.read_card(name) if name in shipped else None
        rows.append(
            {
                "model": name,
                "params": f"{card['parameters']:,}" if card else "-",
                "steps": card["steps"] if card else (recipe and recipe.steps) or "open",
                "trained on": in_words(recipe.function_class) if recipe else "",
            }
        )
    width = shutil.get_terminal_size((100, 0)).columns
    print(_left(pd.DataFrame(rows), width))
    print("\n-: not shipped, to be trained; open: trained for as long as one likes")


def _left(table: pd.DataFrame, width: int) -> str:
    """A table as text, its words at the left; a last column that is too wide goes on below, whole words on a line."""
    cells = [list(table), *table.astype(str).itertuples(index=False)]
    *widths, last = (max(map(len, column)) for column in zip(*cells, strict=True))
    room = min(last, max(1, width - sum(size + 2 for size in widths)))
    lines = []
    for *words, text in cells:
        start = "".join(f"{word:<{size + 2}}" for word, size in zip(words, widths, strict=True))
        text = text.replace("% ", "%\xa0")  # a share stays with its class
        parts = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [start + parts[0], *(" " * len(start) + part for part in parts[1:])]
    return "\n".join(line.rstrip().replace("\xa0", " ") for line in lines)


def _utilisation(run: Run, done: int, seconds: float, device: str) -> str:
    """The share of a large matrix product's rate that the model's own arithmetic has reached since the step `done`."""
    best = speed.matrix_product_rate(device)
    reached = speed.training_flops(run.setting, done, run.step) / seconds
    return (
        f"{run.step - done} steps in {speed.duration(seconds)}: {reached / 1e12:.3g} TFLOP/s of the model's own, "
        f"{reached / best:.0%} of a large matrix product's {best / 1e12:.3g}"
    )


def _measure(run: Run, name: str, out: Path, n_prompts: int) -> pd.DataFrame:
    """Write the loss of each step, then the learning curves, as tables into `out`; returns the curves.

    The model is left on the CPU and rounded to half precision, as it is on disk: what is measured is what is loaded.
    """

    def write(kind: str, table: pd.DataFrame) -> pd.DataFrame:
        write_whole(out / f"{name}.{kind}.csv", partial(table.to_csv, index=False))
        return table

    write("losses", pd.DataFrame({"step": range(run.step), "loss": run.losses}))
    run.model.cpu().half().float().eval()
    table = _compare(run.model, run.setting, n_prompts, seed=0)
    return write("curves", table)


def _plan(options: argparse.Namespace) -> tuple[Setting, Path, Callable[[], Run], Path]:
    """What `train` is asked for: setting, folder, how the run begins there, and the checkpoint that it goes on from."""
    setting = options.model.setting
    folder = Path(options.folder or Path("runs") / options.model.name)
    if options.steps is not None:
        setting = replace(setting, steps=options.steps)
    if options.extend:
        setting = setting.extended(weights.parent(options.model.name))
    if options.anneal is None:
        parent = None if setting.parent is None else weights.load(_shipped(setting.parent))
        return (
            setting,
            folder,
            partial(Run.start, setting, options.device, parent),
            folder / CHECKPOINT,
        )
    # Anneals lie below the run that they branch off, each named by where it does and how long it is.
    source = folder / CHECKPOINT
    begun = sorted(folder.glob(f"anneal-*+{options.anneal}"))
    at = next(
        (_branched_at(f) for f in begun if not (f / f"{options.model.name}.json").exists()), None
    )
    if at is None:
        at, _ = reached(source)
        if at == 0:
            raise ValueError(
                f"there is no checkpoint in {folder} to anneal from; train there first, or give another --folder"
            )
    branch = folder / f"anneal-{at}+{options.anneal}"
    return (
        setting.annealed(at, options.anneal),
        branch,
        partial(Run.branch, setting, source, options.anneal, options.device),
        branch / CHECKPOINT if (branch / CHECKPOINT).exists() else source,
    )


def _shipped(parent: Parent) -> str:
    """The name of the shipped model that a setting starts from."""
    names = (n for n in weights.available() if weights.read_card(n)["sha256"] == parent.sha256)
    name = next(names, None)
    if name is None:
        raise ValueError(f"no shipped model has the weights {parent.sha256} to start from")
    return name


def _branched_at(folder: Path) -> int:
    """The step at which the anneal in `folder` left its run, as `_plan` writes it into the name."""
    return int(folder.name.removeprefix("anneal-").split("+")[0])


def _train(options: argparse.Namespace) -> None:
    with parallel.joined(options.device) as group:
        options.device = group.device
        if group.leads:
            _train_and_tell(options, group)
            return
        setting, folder, begin, _ = _plan(options)
        fit(
            setting,
            folder,
            device=options.device,
            begin=begin,
            seconds=options.seconds,
            save_every=options.save_every,
            progress=False,
            micro_batch=options.micro_batch,
            group=group,
        )


def _train_and_tell(options: argparse.Namespace, group: parallel.Group) -> None:
    setting, folder, begin, before = _plan(options)
    name = options.model.name
    out = Path(options.out or folder)
    out.mkdir(parents=True, exist_ok=True)  # if that fails, then now rather than after hours
    if options.seconds < inf:
        _step_back()
    length = "an open number of" if setting.steps is None else setting.steps
    print(f"{name}: {length} steps on {options.device}, checkpoints in {folder}", flush=True)
    done, seconds = reached(before)
    if options.device == "cpu" and setting.steps is not None and done < setting.steps:
        print(f"from step {done}; timing some steps ...", flush=True)
        left = speed.training_seconds(setting, done)
        print(
            f"about {speed.duration(left)} on this machine, CPU threads: {torch.get_num_threads()}",
            flush=True,
        )
    try:
        run = fit(
            setting,
            folder,
            device=options.device,
            begin=begin,
            seconds=options.seconds,
            save_every=options.save_every,
            micro_batch=options.micro_batch,
            group=group,
        )
    except KeyboardInterrupt:
        if (folder / CHECKPOINT).exists():
            print("interrupted; measuring what was reached", flush=True)
            _measure(Run.resume(setting, folder), name, out, options.n_prompts)
        raise
    if run.step > done:
        print(_utilisation(run, done, run.seconds - seconds, options.device))
    figures = _card_figures(_measure(run, name, out, options.n_prompts))
    if setting.steps is None or run.step < setting.steps:
        print(
            f"{run.step} steps done; the same command goes on"
            + ("" if setting.steps else ", and --anneal makes weights of what was reached")
        )
        return
    path = weights.save(
        run,
        name,
        out,
        dtype=torch.float16,
        evaluation={"n_prompts": options.n_prompts, "curves": figures},
    )
    print(f"saved {path} and its card")


def _step_back() -> None:
    """Leave the machine to others: one thread, the lowest priority."""
    torch.set_num_threads(1)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(19)


def _seconds(text: str) -> float:
    """A command-line argument that is a time: 90s, 30min, 2h, 1h30min."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?", text)
    seconds = sum(
        int(part or 0) * unit
        for part, unit in zip(found.groups() if found else (), (3600, 60, 1), strict=False)
    )
    if not seconds:
        raise argparse.ArgumentTypeError(
            f"must be a time such as 2h, 30min or 1h30min, got {text!r}"
        )
    return float(seconds)


def _evaluate(options: argparse.Namespace) -> None:
    model = weights.load(options.model).to(options.device)
    assert model.card is not None, "what is loaded from a file has a card"
    setting = Setting.from_dict(model.card["recipe"])
    table = _compare(model, setting, options.n_prompts, options.seed)
    if options.csv:
        write_whole(Path(options.csv), partial(table.to_csv, index=False))
        print(f"wrote {options.csv}")
        return
    shown = table[table.n_examples.isin((0, 1, 2, 5, 10, 20, 30, 40))]
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def _export(options: argparse.Namespace) -> None:
    try:
        from icl_lib import browser
    except ModuleNotFoundError as error:  # the rest of the library does without onnx
        raise RuntimeError(
            f"export needs {error.name}, which comes with: pip install 'icl_lib[browser]'"
        ) from None
    browser.export_site(
        options.out,
        jobs=options.jobs,
        told=lambda entry: print(f"{entry['bytes']:>10,} bytes  {entry['file']}", flush=True),
    )


def _results(options: argparse.Namespace) -> None:
    from icl_lib import prose, results

    names = options.names or list(results.EXPERIMENTS)
    reasons = {name: results.stale(name) for name in names}
    due = [] if options.check else [name for name in names if reasons[name] or options.all]
    many = (
        cluster.engine(options.address) if options.ray and due else nullcontext(results.one_by_one)
    )
    with many as engine:
        for name in names:
            print(results.told(name, reasons[name]), flush=True)
            if name in due:
                count = results.refresh(name, everything=options.all, engine=engine)
                print(f"{name}: {count} cases measured", flush=True)
    if options.check and any(reasons.values()):
        raise ValueError("stale tables; to measure them: python -m icl_lib results")
    if options.prose:
        complaints = prose.check() if options.check else prose.write()
        if complaints:
            raise ValueError("\n".join(complaints))


def _sweep(options: argparse.Namespace) -> None:
    grid = options.grid
    folder = Path(options.folder or Path("runs") / grid.name)
    if options.plan:
        _show_plan(grid, folder)
        return
    try:
        from icl_lib.sweeps import driver
    except ModuleNotFoundError as error:  # the rest of the library does without
        raise RuntimeError(cluster.lacking(error)) from None
    outcome = driver.sweep(
        grid,
        folder,
        address=options.address,
        jobs=options.jobs,
        cpus=options.cpus,
        gpus=options.gpus,
        save_every=options.save_every,
    )
    if outcome.done:
        print(f"{outcome.done} of {len(grid.members)} runs done: {folder / grid.name}.csv")
    if outcome.failed:
        told = "\n".join(f"{name}: {why}" for name, why in outcome.failed.items())
        raise RuntimeError(
            f"{len(outcome.failed)} runs failed; the same command tries them again\n{told}"
        )


def _show_plan(grid: sweeps.Grid, folder: Path) -> None:
    """The runs of a grid, and how far each is; nothing is computed."""
    rows = []
    for member in grid.members:
        at = folder / member.name
        step, _ = reached(at / CHECKPOINT)
        if runs.is_done(at, grid.tests):
            state = "done"
        elif runs.is_trained(at):
            state = "to be measured"
        else:
            state = f"{step} of {member.setting.steps} steps"
        rows.append({"run": member.name, "state": state, "what it is": sweeps.in_words(member)})
    print(f"{grid.name}: {grid.about}\n")
    print(_left(pd.DataFrame(rows), shutil.get_terminal_size((100, 0)).columns))


def _positive(text: str) -> int:
    """A command-line argument that counts something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _device(text: str) -> str:
    """A command-line argument that names a device which is there."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if text not in there:
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or mps, got {text!r}")
    if not there[text]:
        raise argparse.ArgumentTypeError(
            f"PyTorch finds no {text} device here; cpu is always there"
        )
    return text


def _share(text: str) -> float:
    """A command-line argument that is a number of GPUs, whole or a fraction of one."""
    value = float(text)
    if not (0 <= value <= 1 or (value.is_integer() and value > 0)):
        raise argparse.ArgumentTypeError(f"must be in [0, 1] or a whole number, got {text}")
    return value


def _grid(text: str) -> sweeps.Grid:
    """A command-line argument that is a grid: a file, or one of the book's own."""
    try:
        return sweeps.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _Recipe(NamedTuple):
    """What `train` is asked to train, and what it is called."""

    name: str
    setting: Setting


def _recipe(text: str) -> _Recipe:
    """A command-line argument that is a name from `list`, or a TOML file with a setting of one's own."""
    path = Path(text)
    if path.suffix == ".toml":
        try:
            with path.open("rb") as file:
                return _Recipe(path.stem, Setting.from_dict(tomllib.load(file)))
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    if text not in recipes.RECIPES:
        raise argparse.ArgumentTypeError(
            f"no recipe is called {text!r}{nearest(text, recipes.RECIPES)}; `list` names them all, and a file that "
            "ends in .toml is a recipe of your own"
        )
    return _Recipe(text, recipes.RECIPES[text])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m icl_lib",
        description="Train, evaluate and export the models of the book Beyond the Mixture.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"icl_lib {__version__}")
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: PyTorch's choice)")
    commands = parser.add_subparsers(
        title="commands",
        required=True,
        metavar="list | train | sweep | evaluate | export | results",
    )

    command = commands.add_parser(
        "list",
        help="all models: shipped or not, size, what they are trained on",
        description="all models: shipped or not, size, what they are trained on",
    )
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "train",
        help="train a model by its recipe; resumes where it was stopped",
        description="train a model by its recipe; resumes where it was stopped. A recipe without a number of steps "
        "trains at a constant rate until it is stopped; --anneal branches weights off from where it stands. Started "
        "by torchrun, several processes share each step's prompts.",
    )
    command.add_argument(
        "model",
        type=_recipe,
        metavar="MODEL",
        help="a name from `list`, or a TOML file with a setting of your own",
    )
    command.add_argument("--folder", help="where checkpoints go (default: runs/MODEL)")
    command.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        default=inf,
        metavar="TIME",
        help="stop after TIME, such as 2h or 30min; at low priority, on one thread",
    )
    command.add_argument(
        "--steps", type=_positive, help="another number of steps than the recipe's"
    )
    command.add_argument(
        "--anneal",
        type=_positive,
        metavar="STEPS",
        help="from the checkpoint in the folder, let the rates fall to zero over STEPS steps",
    )
    command.add_argument(
        "--extend",
        action="store_true",
        help="go on from the shipped weights, at a constant rate, with prompts that they have not met",
    )
    command.add_argument("--out", help="where the finished weights go (default: the same folder)")
    command.add_argument(
        "--device", type=_device, default="cpu", help="cpu, cuda or mps (default: cpu)"
    )
    command.add_argument(
        "--save-every", type=_positive, default=250, help="steps between checkpoints (default: 250)"
    )
    command.add_argument(
        "--micro-batch",
        type=_positive,
        metavar="PROMPTS",
        help="prompts of a step that are in memory at once; their gradients are added up (default: 16 on a CPU, "
        "all on a GPU)",
    )
    command.add_argument(
        "--n-prompts", type=_positive, default=1280, help="prompts of the final evaluation"
    )
    command.set_defaults(run=_train)

    command = commands.add_parser(
        "evaluate",
        help="learning curves of a model and of exact Bayes, by class",
        description="learning curves of a model and of exact Bayes, by class",
    )
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a name from `list`, or the path of a run's folder or of a safetensors file",
    )
    command.add_argument(
        "--device", type=_device, default="cpu", help="cpu, cuda or mps (default: cpu)"
    )
    command.add_argument(
        "--n-prompts", type=_positive, default=1280, help="prompts per class (default: 1280)"
    )
    command.add_argument("--seed", type=int, default=0, help="evaluation seed (default: 0)")
    command.add_argument("--csv", help="write the whole table there instead of printing a part")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "export",
        help="write the ONNX graphs, worker and manifest that the page fetches",
        description="write the ONNX graphs, worker and manifest that the page fetches",
    )
    command.add_argument("--out", required=True, help="folder to write to")
    command.add_argument(
        "--jobs", type=_positive, default=1, help="processes that trace graphs (default: 1)"
    )
    command.set_defaults(run=_export)

    command = commands.add_parser(
        "sweep",
        help="train and measure a grid of recipes, in many processes",
        description="train and measure each recipe of a grid, in as many processes as there are processors here, or on "
        "a Ray cluster; whatever was stopped, or killed, goes on with the same command, and what is done is not done "
        "again",
    )
    command.add_argument(
        "grid",
        type=_grid,
        metavar="GRID",
        help=f"a TOML file, or one of the book's own: {', '.join(sweeps.available())}",
    )
    command.add_argument(
        "--folder", help="holds a folder for each run, and the table (default: runs/GRID)"
    )
    command.add_argument(
        "--plan", action="store_true", help="show the runs and how far each is; compute nothing"
    )
    command.add_argument(
        "--address",
        help="of a Ray cluster, given on one of its machines: auto, or HOST:PORT; all machines must see the folder "
        "(default: start Ray here)",
    )
    command.add_argument(
        "--jobs", type=_positive, help="processors of this machine to use (default: all)"
    )
    command.add_argument(
        "--cpus",
        type=_positive,
        default=1,
        help="processors, and threads, of each run (default: 1)",
    )
    command.add_argument(
        "--gpus",
        type=_share,
        default=0.0,
        help="GPUs of each run; with 0.25, four share one (default: 0)",
    )
    command.add_argument(
        "--save-every", type=_positive, default=250, help="steps between checkpoints (default: 250)"
    )
    command.set_defaults(run=_sweep)

    command = commands.add_parser(
        "results",
        help="measure what is missing or stale in the book's tables, and say why it is",
        description="measure what is missing or stale in the book's tables, and say why it is; a run that was "
        "stopped, or killed, goes on where it was",
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="tables (default: all)")
    command.add_argument("--all", action="store_true", help="measure everything, stale or not")
    command.add_argument(
        "--check",
        action="store_true",
        help="measure and write nothing; exit 1 if something is stale",
    )
    command.add_argument(
        "--ray",
        action="store_true",
        help="measure in many processes, by Ray; as many as processors",
    )
    command.add_argument(
        "--address",
        help="with --ray: of a cluster, given on one of its machines: auto, or HOST:PORT",
    )
    command.add_argument(
        "--prose",
        action="store_true",
        help="write the named numbers in notebooks, book and README of this folder anew, and check their sentences",
    )
    command.set_defaults(run=_results)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
