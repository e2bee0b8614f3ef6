"""PyTorch weights of the published implementations, as networks and runs of this library.

    ganimation import-torch --generator G.pth [--critic D.pth] --out RUN

``RUN`` then has a checkpoint at step 0, which can be trained on, evaluated and exported.
"""

import argparse
import dataclasses
import json
import logging
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.action_units import ACTION_UNITS, positions
from ganimation_jax.interop import torch_tables
from ganimation_jax.interop.torch_files import read_state_dict
from ganimation_jax.interop.torch_names import (
    LAYOUTS,
    Layout,
    Names,
    critic_names,
    from_torch,
    generator_names,
)
from ganimation_jax.methods import ganimation
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.generator import Generator
from ganimation_jax.runs.checkpoint import Checkpoints
from ganimation_jax.steps.updates import fresh_state
from ganimation_jax.types import Params, State, parameter_count

log = logging.getLogger(__name__)

StateDict = Mapping[str, np.ndarray]
PUBLISHED_SIZE = 128
# PyTorch before 0.4 stored these with every instance norm, and never used them.
UNUSED = ("running_mean", "running_var", "num_batches_tracked")


def generator_from_state_dict(state: StateDict) -> tuple[Generator, Params]:
    """A generator and its parameters from a PyTorch state dict.

    Layout, width, number of residual blocks and of action units come from names and shapes.

    Args:
      state: names to arrays, as ``torch.load`` gives them (as numpy); names may carry the
        ``module.`` of ``DataParallel``.

    Raises:
      ValueError: neither published layout; the names missing and left over, or the arrays
        of another shape, are listed.
    """
    state = _plain_names(state)
    layout = _layout(state, lambda names: f"{names.color}.weight", "generator")
    names = LAYOUTS[layout]
    pattern = re.compile(rf"{names.trunk}\.(\d+)\.{names.residual}\.0\.weight")
    blocks = sum(bool(pattern.fullmatch(name)) for name in state)
    table = generator_names(layout, blocks)
    params = _take(state, table)
    width = params["stem"]["kernel"].shape[-1]
    official = layout == "official"
    generator = Generator(width, blocks, norm_affine=official, conv_bias=not official)
    units = max(1, _generator_units(params))
    _check_shapes(generator, params, table, jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, units)))
    return generator, params


def critic_from_state_dict(state: StateDict) -> tuple[Critic, Params]:
    """A critic and its parameters from a PyTorch state dict; as ``generator_from_state_dict``."""
    state = _plain_names(state)
    layout = _layout(state, lambda names: f"{names.score}.weight", "critic")
    pattern = re.compile(rf"{LAYOUTS[layout].trunk}\.\d+\.weight")
    depth = max(1, sum(bool(pattern.fullmatch(name)) for name in state))
    table = critic_names(layout, depth)
    params = _take(state, table)
    critic = Critic(params["aus"].shape[-1], params["down0"]["kernel"].shape[-1], depth)
    size = _critic_image_size(params, depth)
    _check_shapes(critic, params, table, jnp.zeros((1, size, size, 3)))
    return critic, params


def import_run(
    generator_state: StateDict,
    critic_state: StateDict | None,
    image_size: int | None = None,
    action_units: tuple[str, ...] | None = None,
) -> tuple[dict[str, Any], State]:
    """A training state at step 0 from PyTorch state dicts, and the config of its networks.

    Args:
      generator_state: of the generator.
      critic_state: of the critic; None makes a fresh one, which knows nothing yet.
      image_size: that the run is for; the critic's own if there is one, else 128.
      action_units: their names, in the networks' order; OpenFace's 17 by default.

    Raises:
      ValueError: a state dict does not match, or the two and the other arguments disagree.
    """
    generator, generator_params = generator_from_state_dict(generator_state)
    units = _name_units(_generator_units(generator_params), action_units)
    if critic_state is None:
        image_size = image_size or PUBLISHED_SIZE
        depth_for(image_size)  # raises when no critic fits
        critic = Critic(len(units), generator.width)
        image = jnp.zeros((1, image_size, image_size, 3))
        # XLA compiles the initial draws several times faster with its own generator.
        critic_params = jax.jit(critic.init)(jax.random.key(0, impl="rbg"), image)["params"]
    else:
        critic, critic_params = critic_from_state_dict(critic_state)
        own_size = _critic_image_size(critic_params, critic.depth)
        if image_size not in (None, own_size):
            raise ValueError(f"the critic is for {own_size}x{own_size} images, not {image_size}")
        image_size = own_size
        if critic.action_units != len(units):
            raise ValueError(
                f"the generator has {len(units)} action units, the critic {critic.action_units}: "
                "not of one run"
            )
    config = {
        "method": "ganimation",
        "action_units": list(units),
        "image_size": image_size,
        "generator": {
            "width": generator.width,
            "residual_blocks": generator.residual_blocks,
            "norm_affine": generator.norm_affine,
            "conv_bias": generator.conv_bias,
        },
        "critic": {
            "width": critic.width,
            "depth": 0 if _is_default_depth(critic.depth, image_size) else critic.depth,
        },
    }
    # Shapes of the optimisers' states depend on no field; rates are only read in training.
    optimizers = ganimation.build_optimizers(ConfigDict({"adam": (0.5, 0.999)}))
    model = ganimation.model_of(generator, critic, units, image_size)
    nets = {"generator": generator_params, "critic": critic_params}
    return config, fresh_state(model, optimizers, nets)


def write_run(workdir: Path, config: dict[str, Any], state: State) -> None:
    """Make a new run of ``state`` at step 0.

    Raises:
      ValueError: there are checkpoints in ``workdir`` already.
    """
    folder = workdir / "checkpoints"
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{workdir} holds checkpoints already; choose another folder")
    checkpoints = Checkpoints(folder)
    checkpoints.save(0, state, {"config": config, "drawn": 0})
    checkpoints.close()
    (workdir / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def fine_tune_command(config: Mapping[str, Any], workdir: Path) -> str:
    """The command that trains on, with each field that is not the published one."""
    published: dict[str, Any] = {"image_size": PUBLISHED_SIZE, "action_units": ACTION_UNITS}
    for network in (Generator, Critic):
        for field in dataclasses.fields(network):
            published[f"{network.__name__.lower()}.{field.name}"] = field.default
    fields = flatten_dict(dict(config), sep=".")
    fields["action_units"] = tuple(fields["action_units"])
    words = ["python", "-m", "ganimation_jax.main", "--config=configs/emotionet.py"]
    for name, value in fields.items():
        if value != published.get(name, value):
            words.append(f"--config.{name}={value}")
    return shlex.join([*words, f"--workdir={workdir}", "--config.data.dir=DIR"])


def main(argv: list[str] | None = None) -> int:
    """Write the run.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    parser = argparse.ArgumentParser(
        prog="ganimation import-torch",
        description="Make a run from PyTorch weights of the published codes, to edit with and to "
        "train on from. 'ganimation export --format torch' is the way back.",
    )
    add = parser.add_argument
    add("--method", default="ganimation", choices=methods.METHODS, help="default: ganimation")
    add("--generator", type=Path, required=True, metavar="G.pth", help="state dict of a generator")
    add(
        "--critic", type=Path, metavar="D.pth", help="state dict of its critic (default: untrained)"
    )
    add(
        "--net",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="state dict of another network of the method; may be repeated",
    )
    add("--out", type=Path, required=True, metavar="RUN", help="workdir of the new run")
    add("--image-size", type=int, metavar="PIXELS", help="if there is no --critic (default: 128)")
    add("--action-units", metavar="AU01,...", help="their names, if they are not OpenFace's 17")
    add("--conditions", metavar="NAME,...", help="of other methods: Smiling,Young or emotion=happy")
    args = parser.parse_args(argv)
    try:
        others = torch_tables.networks_given(args.critic, args.net)
        if table := methods.published(args.method):
            return _import_by_table(args, table, others)
        if set(others) - {"critic"} or args.conditions:
            raise ValueError("--net and --conditions are for methods with other networks")
        config, state = import_run(
            read_state_dict(args.generator),
            read_state_dict(args.critic) if args.critic else None,
            args.image_size,
            tuple(args.action_units.split(",")) if args.action_units else None,
        )
        write_run(args.out, config, state)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not args.critic:
        print(
            "WARNING: no --critic: the run has a NEW, UNTRAINED critic. Edit with it as it is; "
            "before fine-tuning, prefer the critic that was trained with this generator.",
            file=sys.stderr,
        )
    layout = "official" if config["generator"]["norm_affine"] else "replicate"
    print(
        f"{args.out}: {layout} generator, "
        f"{parameter_count(state.nets['generator']):,} parameters; critic, "
        f"{parameter_count(state.nets['critic']):,}; {len(config['action_units'])} action units; "
        f"{config['image_size']}x{config['image_size']}\nTo train on:\n\n"
        f"  {fine_tune_command(config, args.out)}"
    )
    return 0


def _import_by_table(args: argparse.Namespace, table: Any, others: Mapping[str, Path]) -> int:
    if args.action_units:
        raise ValueError(f"--action-units: name the labels of {args.method} with --conditions")
    files = {table.NETWORKS[0]: args.generator, **others}
    config, state = torch_tables.import_published(
        args.method,
        {net: read_state_dict(file) for net, file in files.items()},
        args.image_size,
        tuple(args.conditions.split(",")) if args.conditions else None,
    )
    write_run(args.out, config, state)
    sizes = [f"{net} {parameter_count(params):,}" for net, params in state.nets.items()]
    new = [net for net in state.nets if net not in files]
    if new:
        print(f"WARNING: NEW, UNTRAINED: {', '.join(new)}", file=sys.stderr)
    print(
        f"{args.out}: {args.method}, parameters: {', '.join(sizes)}; conditions "
        f"{' '.join(config['conditions'])}; {config['image_size']}x{config['image_size']}\n"
        f"To train on, begin a run with --config.init_from={args.out}"
    )
    return 0


def _generator_units(params: Params) -> int:
    return params["stem"]["kernel"].shape[2] - 3


def _critic_image_size(params: Params, depth: int) -> int:
    return params["aus"].shape[0] * 2**depth  # the AU kernel is as large as the last map


def _is_default_depth(depth: int, image_size: int) -> bool:
    try:
        return depth == depth_for(image_size)
    except ValueError:  # a size that only this critic's own depth fits
        return False


def _name_units(count: int, names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        if count != len(ACTION_UNITS):
            raise ValueError(
                f"the generator has {count} action units, not OpenFace's {len(ACTION_UNITS)}; "
                "name them with --action-units AU01,AU02,..."
            )
        return ACTION_UNITS
    positions(names, names)  # raises when one is named twice
    if len(names) != count:
        raise ValueError(f"{len(names)} action units named, but the generator has {count}")
    return names


def _plain_names(state: StateDict) -> dict[str, np.ndarray]:
    plain = {name.removeprefix("module."): np.asarray(array) for name, array in state.items()}
    unused = [name for name in plain if name.endswith(UNUSED)]
    if unused:
        log.warning(
            "%d running statistics ignored: the published code never used them", len(unused)
        )
    return {name: array for name, array in plain.items() if name not in unused}


def _layout(state: StateDict, landmark: Callable[[Names], str], network: str) -> Layout:
    for layout, names in LAYOUTS.items():
        if landmark(names) in state:
            return layout
    expected = " or ".join(landmark(names) for names in LAYOUTS.values())
    raise ValueError(
        f"not a {network} of a published layout: no {expected} among {sorted(state)[:8]} ..."
    )


def _take(state: StateDict, names: dict[str, str]) -> Params:
    missing = sorted(set(names.values()) - set(state))
    left_over = sorted(set(state) - set(names.values()))
    if missing or left_over:
        raise ValueError(f"state dict does not match: missing {missing}, left over {left_over}")
    for path, name in names.items():
        axes = 1 if path.endswith(("scale", "bias")) else 4
        if state[name].ndim != axes:
            raise ValueError(f"{name} has shape {state[name].shape}: {axes} axes are expected")
    flat = {path: from_torch(path, state[name]) for path, name in names.items()}
    return unflatten_dict(flat, sep="/")


def _check_shapes(network: nn.Module, params: Params, names: dict[str, str], *inputs: Any) -> None:
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    expected, found = flatten_dict(shapes, sep="/"), flatten_dict(params, sep="/")
    wrong = [
        f"{names[path]} ({path} is {found[path].shape}, not {expected[path].shape})"
        for path in expected
        if found[path].shape != expected[path].shape
    ]
    if wrong:
        raise ValueError(f"not the published {type(network).__name__.lower()}: {'; '.join(wrong)}")


if __name__ == "__main__":
    sys.exit(main())
