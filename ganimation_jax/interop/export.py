"""``python -m ganimation_jax.export``: a run's generator as a file for deployment."""

import argparse
import sys
from pathlib import Path

from ganimation_jax.interop.onnx_files import save_onnx
from ganimation_jax.interop.stablehlo import save_exported
from ganimation_jax.runs import load_run


def main(argv: list[str] | None = None) -> int:
    """Write the file.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    parser = argparse.ArgumentParser(prog="ganimation_jax.export", description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="model.ganimation")
    parser.add_argument("--format", choices=("stablehlo", "onnx"), default="stablehlo")
    parser.add_argument(
        "--raw", action="store_true", help="the generator itself, not its moving average"
    )
    args = parser.parse_args(argv)
    try:
        run = load_run(args.workdir)
        params = run.generator if args.raw else run.ema
        generator = (args.out, run.method.edit, params, run.action_units, run.image_size)
        if args.format == "onnx":
            save_onnx(*generator)
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
