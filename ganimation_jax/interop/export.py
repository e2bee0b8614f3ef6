"""A trained model as files to deploy or to hand on.

    ganimation export --workdir RUN --out model.ganimation
    ganimation export --workdir RUN --out model.onnx --format onnx
    ganimation export --workdir RUN --out NAME.safetensors --format safetensors \\
        --about about.json --report RUN/report/report.json

The first two hold the generator alone, ready to run: StableHLO for JAX, ONNX for the rest. The
last holds generator and critic in bfloat16, with a card NAME.json beside it: ``animate --model``
edits with it, ``--config.init_from`` trains on from it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ganimation_jax.interop.onnx_files import save_onnx
from ganimation_jax.interop.stablehlo import save_exported
from ganimation_jax.runs import model_files
from ganimation_jax.runs.load import Run, load_run


def main(argv: list[str] | None = None) -> int:
    """Write the file.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    parser = argparse.ArgumentParser(
        prog="ganimation export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--workdir", type=Path, required=True, metavar="RUN")
    add("--out", type=Path, required=True, metavar="model.ganimation")
    add("--format", choices=("stablehlo", "onnx", "safetensors"), default="stablehlo")
    add("--raw", action="store_true", help="the generator itself, not its moving average")
    add("--about", type=Path, metavar="FILE.json", help="safetensors: more for the card")
    add("--report", type=Path, metavar="report.json", help="safetensors: its evaluation")
    args = parser.parse_args(argv)
    try:
        if args.format != "safetensors" and (args.about or args.report):
            raise ValueError("--about and --report are for --format safetensors")
        run = load_run(args.workdir)
        params = run.generator if args.raw else run.ema
        generator = (args.out, run.method.edit, params, run.action_units, run.image_size)
        if args.format == "onnx":
            save_onnx(*generator)
        elif args.format == "safetensors":
            model_files.write(args.out, params, run.critic, card_of(run, args.about, args.report))
        else:
            about = {"method": run.config["method"], "step": run.step, "raw": args.raw}
            data = run.config.get("data", {})  # imported weights come without
            about |= {name: data[name] for name in ("eyes", "grey") if name in data}
            save_exported(*generator, about)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    megabytes = args.out.stat().st_size / 1e6
    print(
        f"{args.out}: {args.format}, {megabytes:.1f} MB, step {run.step:,}, "
        f"{run.image_size}x{run.image_size}, {len(run.action_units)} action units"
    )
    return 0


def card_of(run: Run, about: Path | None = None, report: Path | None = None) -> dict[str, Any]:
    """What is to be known of a model.

    Args:
      run: the model. What its own card says is kept.
      about: JSON object of other facts, such as its licence.
      report: what ``--mode=eval`` wrote of it; all scores are taken.

    Raises:
      OSError, ValueError: a file cannot be read, or is another kind of file.
    """
    config = dict(run.config)
    if "data" in config:
        config["data"] = config["data"] | {"dir": ""}  # a folder of the machine it was trained on
    card: dict[str, Any] = (
        {**run.about, **model_files.read_object(about)} if about else dict(run.about)
    )
    if report:
        found = model_files.read_object(report)
        if "sections" not in found:
            raise ValueError(f"{report} is no report of --mode=eval")
        scores = {k: v for section in found["sections"] for k, v in section["scores"].items()}
        card["evaluation"] = {"facts": found["facts"], "scores": scores}
    return {**card, "step": run.step, "config": config}
