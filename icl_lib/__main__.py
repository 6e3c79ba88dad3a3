"""Train, evaluate and export the book's models from the command line: `python -m icl_lib --help`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from icl_lib import bayes, recipes, speed, weights
from icl_lib.evaluation import Predictor, excess_risk, learning_curves, squared_errors
from icl_lib.model import Transformer
from icl_lib.samplers import FunctionClass, Mixture
from icl_lib.training import CHECKPOINT, Run, fit, write_whole

FAILED, INTERRUPTED = 1, 130  # argparse itself exits with 2 on bad usage
_EXAMPLES = """examples:
  python -m icl_lib list
  python -m icl_lib train line+sine-0.5-tiny --folder runs/mine
  python -m icl_lib evaluate line+sine-0.5-small --csv curves.csv
  python -m icl_lib export --out site/live

exit status: 0 done; 1 failed, with the reason on standard error; 2 bad usage; 130 interrupted (train: the same command
resumes)."""


def _classes(function_class: FunctionClass) -> dict[str, FunctionClass]:
    """What a model is evaluated on: each class of its mixture by itself."""
    parts = function_class.classes if isinstance(function_class, Mixture) else (function_class,)
    return {repr(part): part for part in parts}


def _compare(
    model: Transformer, function_class: FunctionClass, n_prompts: int, seed: int
) -> pd.DataFrame:
    """Learning curves of the model and of exact Bayes for its own training distribution, on each of its classes."""
    predictors: dict[str, Predictor] = {
        "transformer": model,
        "Bayes": bayes.predictor(function_class),
    }
    tables = []
    for name, part in _classes(function_class).items():
        errors = squared_errors(
            predictors, part, n_examples=model.config.max_examples, n_prompts=n_prompts, seed=seed
        )
        table = learning_curves(errors).merge(
            excess_risk(errors, "Bayes"),
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
                "shipped": "yes" if card else "no",
                "parameters": f"{card['parameters']:,}" if card else "",
                "steps": card["steps"] if card else recipe.steps if recipe else "",
                "trained on": repr(recipe.function_class) if recipe else "",
            }
        )
    print(pd.DataFrame(rows).to_string(index=False))


def _utilisation(run: Run, done: int, seconds: float, device: str) -> str:
    """The share of a large matrix product's rate that the model's own arithmetic has reached since the step `done`."""
    best = speed.matrix_product_rate(device)
    reached = speed.training_flops(run.setting, done) / seconds
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
    return write("curves", _compare(run.model, run.setting.function_class, n_prompts, seed=0))


def _train(options: argparse.Namespace) -> None:
    setting = recipes.RECIPES[options.name]
    folder = Path(options.folder or Path("runs") / options.name)
    out = Path(options.out or folder)
    out.mkdir(parents=True, exist_ok=True)  # if that fails, then now rather than after hours
    print(
        f"{options.name}: {setting.steps} steps on {options.device}, checkpoints in {folder}",
        flush=True,
    )
    before = Run.resume(setting, folder)
    if options.device == "cpu" and before.step < setting.steps:
        print(f"from step {before.step}; timing some steps ...", flush=True)
        left = speed.training_seconds(setting, before.step)
        print(
            f"about {speed.duration(left)} on this machine, CPU threads: {torch.get_num_threads()}",
            flush=True,
        )
    try:
        run = fit(setting, folder, device=options.device, save_every=options.save_every)
    except KeyboardInterrupt:
        if (folder / CHECKPOINT).exists():
            print("interrupted; measuring what was reached", flush=True)
            _measure(Run.resume(setting, folder), options.name, out, options.n_prompts)
        raise
    if run.step > before.step:
        print(_utilisation(run, before.step, run.seconds - before.seconds, options.device))
    figures = _card_figures(_measure(run, options.name, out, options.n_prompts))
    path = weights.save(
        run,
        options.name,
        out,
        dtype=torch.float16,
        evaluation={"n_prompts": options.n_prompts, "curves": figures},
    )
    print(f"saved {path} and its card")


def _evaluate(options: argparse.Namespace) -> None:
    model = weights.load(options.name, options.weights)
    if options.name not in recipes.RECIPES:
        raise ValueError(f"no recipe says what {options.name!r} was trained on")
    table = _compare(
        model, recipes.RECIPES[options.name].function_class, options.n_prompts, options.seed
    )
    if options.csv:
        table.to_csv(options.csv, index=False)
        print(f"wrote {options.csv}")
        return
    shown = table[table.n_examples.isin((0, 1, 2, 5, 10, 20, 30, 40))]
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def _export(options: argparse.Namespace) -> None:
    from icl_lib import browser  # needs onnx, which the rest of the library does without

    manifest = browser.export_site(options.out)
    for entry in (*manifest["models"].values(), *manifest["bayes"].values()):
        print(f"{entry['bytes']:>10,} bytes  {entry['file']}")


def _positive(text: str) -> int:
    """A command-line argument that counts something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _device(text: str) -> str:
    """A command-line argument that names a device which is there."""
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("PyTorch finds no CUDA device here; cpu is always there")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m icl_lib",
        description="Train, evaluate and export the models of the book Beyond the Mixture.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: PyTorch's choice)")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="list | train | evaluate | export"
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
        description="train a model by its recipe; resumes where it was stopped",
    )
    command.add_argument(
        "name", choices=sorted(recipes.RECIPES), metavar="MODEL", help="a name from `list`"
    )
    command.add_argument("--folder", help="where checkpoints go (default: runs/MODEL)")
    command.add_argument("--out", help="where the finished weights go (default: the same folder)")
    command.add_argument("--device", type=_device, default="cpu", help="cpu or cuda (default: cpu)")
    command.add_argument(
        "--save-every", type=_positive, default=250, help="steps between checkpoints (default: 250)"
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
    command.add_argument("name", metavar="MODEL", help="a name from `list`")
    command.add_argument(
        "--weights", default=weights.FOLDER, help="folder of weights (default: the shipped ones)"
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
    command.set_defaults(run=_export)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
