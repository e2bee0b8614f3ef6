"""Write a trained model as a file: to deploy it, to share it, or to use it in PyTorch.

    ganimation export --model RUN --out model.ganimation    StableHLO, runs with JAX alone
    ganimation export --model RUN --out model.onnx          ONNX
    ganimation export --model RUN --out NAME.safetensors    to share: edit with it, train on from it
    ganimation export --model RUN --out G.pth --critic D.pth       PyTorch, for the published codes

StableHLO and ONNX hold the generator alone, ready to run. A shared model holds generator and
critic in bfloat16 and gets a card, NAME.json, beside it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ganimation_jax.interop.onnx_files import save_onnx
from ganimation_jax.interop.stablehlo import save_exported
from ganimation_jax.interop.torch_export import write_torch
from ganimation_jax.interop.torch_tables import networks_given
from ganimation_jax.runs import cards, model_files
from ganimation_jax.runs.load import Run, load_run

SUFFIXES = {
    ".ganimation": "stablehlo",
    ".onnx": "onnx",
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))


def main(argv: list[str] | None = None) -> int:
    """Write the file.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    args = _parser().parse_args(argv)
    try:
        kind, others = _format_of(args), networks_given(args.critic, args.net)
        run = load_run(args.model)
        nets = run.nets if args.raw else run.used
        if kind == "onnx":
            save_onnx(args.out, run.model, nets)
        elif kind == "safetensors":
            model_files.write(args.out, nets, card_of(run, args.about, args.report))
        elif kind == "torch":
            write_torch(run, nets, args.out, others)
        else:
            about = {"method": run.config["method"], "step": run.step, "raw": args.raw}
            data = run.config.get("data", {})  # imported weights come without
            about |= {name: data[name] for name in ("eyes", "grey") if name in data}
            save_exported(args.out, run.model, nets, about)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in (args.out, *others.values()):
        print(
            f"{path}: {kind}, {path.stat().st_size / 1e6:.1f} MB, step {run.step:,}, "
            f"{run.image_size}x{run.image_size}, {len(run.names)} conditions"
        )
    return 0


def card_of(run: Run, about: Path | None = None, report: Path | None = None) -> dict[str, Any]:
    """The card of a shared model: what its users should know.

    Args:
      run: the model. The facts on its own card are kept.
      about: JSON object of further facts, such as the licence.
      report: the ``report.json`` that its evaluation wrote; all scores are taken.

    Raises:
      OSError, ValueError: a file cannot be read, or is another kind of file.
    """
    config = dict(run.config)
    if "data" in config:
        config["data"] = config["data"] | {"dir": ""}  # a folder of the machine it was trained on
    card: dict[str, Any] = {**run.about, **cards.read_object(about)} if about else dict(run.about)
    if report:
        found = cards.read_object(report)
        if "sections" not in found:
            raise ValueError(f"{report} is not a report of 'ganimation eval'")
        scores = {
            score["key"]: score["value"]
            for section in found["sections"]
            for score in section["scores"]
        }
        card["evaluation"] = {"facts": found["facts"], "scores": scores}
    return {**card, "step": run.step, "config": config}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ganimation export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        "--workdir",
        type=Path,
        required=True,
        metavar="RUN",
        help="a run's workdir, a NAME.safetensors file, or the name of a built-in model",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    add("--format", choices=FORMATS, help="default: by the ending of FILE")
    add("--raw", action="store_true", help="the last weights, not their moving average")
    add("--critic", type=Path, metavar="D.pth", help="torch: write the critic, too")
    add(
        "--net",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="torch: write another network, too, by its name in the model; may be repeated",
    )
    add("--about", type=Path, metavar="FILE.json", help="safetensors: further facts for the card")
    add(
        "--report",
        type=Path,
        metavar="report.json",
        help="safetensors: evaluation whose scores the card shows",
    )
    return parser


def _format_of(args: argparse.Namespace) -> str:
    kind = args.format or SUFFIXES.get(args.out.suffix)
    if kind is None:
        raise ValueError(
            f"{args.out}: the ending names no format; use one of {', '.join(SUFFIXES)}, "
            f"or give --format"
        )
    if kind != "safetensors" and (args.about or args.report):
        raise ValueError("--about and --report are for --format safetensors")
    if kind != "torch" and (args.critic or args.net):
        raise ValueError("--critic and --net are for --format torch; other formats are one file")
    return kind


if __name__ == "__main__":
    sys.exit(main())
