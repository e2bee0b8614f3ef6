"""Weights of a run, as the published PyTorch implementations store them.

ganimation export-torch --workdir RUN --generator G.pth [--critic D.pth]

The layout follows from the generator: affine norms are the official code's, biased
convolutions ``ganimation_replicate``'s.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict

from ganimation_jax.interop.torch_files import write_state_dict
from ganimation_jax.interop.torch_names import Layout, critic_names, generator_names, to_torch
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import Params


def layout_of(generator_params: Params) -> Layout:
    """The published layout that has these arrays.

    Raises:
      ValueError: neither has; says which of the two settings is in the way.
    """
    norm_affine, conv_bias = "stem_norm" in generator_params, "bias" in generator_params["stem"]
    if norm_affine == conv_bias:
        raise ValueError(
            f"no published layout has norm_affine={norm_affine} and conv_bias={conv_bias}: "
            "official has True and False, replicate False and True"
        )
    return "official" if norm_affine else "replicate"


def generator_to_state_dict(params: Params) -> dict[str, np.ndarray]:
    """A generator's parameters under PyTorch's names, in its array layouts, float32.

    The exact reverse of ``torch_import.generator_from_state_dict``.

    Raises:
      ValueError: no published layout has these arrays.
    """
    blocks = sum(name.endswith("_conv0") for name in params)
    return _give(params, generator_names(layout_of(params), blocks))


def critic_to_state_dict(params: Params, layout: Layout = "official") -> dict[str, np.ndarray]:
    """A critic's parameters; as ``generator_to_state_dict``. The layouts differ in names only."""
    return _give(params, critic_names(layout, sum(name.startswith("down") for name in params)))


def _give(params: Params, names: dict[str, str]) -> dict[str, np.ndarray]:
    flat = flatten_dict(params, sep="/")
    if set(flat) != set(names):
        raise ValueError(f"no published network has these arrays: {sorted(set(flat) ^ set(names))}")
    return {name: to_torch(path, np.asarray(flat[path])) for path, name in names.items()}


def main(argv: list[str] | None = None) -> int:
    """Write the files.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    parser = argparse.ArgumentParser(prog="ganimation export-torch")
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN")
    parser.add_argument("--generator", type=Path, required=True, metavar="G.pth")
    parser.add_argument("--critic", type=Path, metavar="D.pth")
    parser.add_argument(
        "--raw", action="store_true", help="the generator itself, not its moving average"
    )
    args = parser.parse_args(argv)
    try:
        run = load_run(args.workdir)
        if run.config["method"] != "ganimation":
            raise ValueError(f"{args.workdir} is a {run.config['method']} run, not ganimation")
        params = run.generator if args.raw else run.ema
        layout = layout_of(params)
        write_state_dict(args.generator, generator_to_state_dict(params))
        if args.critic:
            write_state_dict(args.critic, critic_to_state_dict(run.critic, layout))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    written = " and ".join(str(path) for path in (args.generator, args.critic) if path)
    print(f"{written}: {layout} layout, step {run.step:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
