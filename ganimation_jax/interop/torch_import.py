"""PyTorch weights of the published implementations, as networks and runs of this library.

    ganimation import-torch --generator G.pth [--critic D.pth] --out RUN

``RUN`` then has a checkpoint at step 0, which can be trained on, evaluated and exported.
"""

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from ganimation_jax import config_words, methods
from ganimation_jax.conditions import parse
from ganimation_jax.interop import torch_tables
from ganimation_jax.interop.torch_arrays import from_torch
from ganimation_jax.interop.torch_files import read_state_dict
from ganimation_jax.runs.checkpoint import Checkpoints
from ganimation_jax.steps.updates import fresh_state
from ganimation_jax.types import Nets, Params, State, parameter_count

log = logging.getLogger(__name__)

StateDict = Mapping[str, np.ndarray]
PUBLISHED_SIZE = 128
# PyTorch before 0.4 stored these with every instance norm; the published codes never used them.
UNUSED = ("running_mean", "running_var", "num_batches_tracked")


def import_published(
    method: str,
    states: Mapping[str, StateDict],
    image_size: int | None = None,
    conditions: tuple[str, ...] | None = None,
) -> tuple[dict[str, Any], State]:
    """A training state at step 0 from PyTorch state dicts, and the config of its networks.

    Sizes, and the layout where there are several, follow from names and shapes of the arrays.

    Args:
      method: its name.
      states: state dict of each network, by the network's name; networks without one are new.
        Names of arrays may begin with the ``module.`` of ``DataParallel``.
      image_size: that the run is for; a critic's own where it has one, else 128.
      conditions: as configs spell them (``AU12``, ``Smiling``, ``emotion=happy``), in the
        networks' order; None: those of the published model with as many.

    Raises:
      ValueError: a network has another name or other arrays, or the arguments disagree.
    """
    table = torch_tables.table_of(method)
    if unknown := sorted(set(states) - set(table.NETWORKS)):
        raise ValueError(
            f"{method} has no network {', '.join(unknown)}; it has {', '.join(table.NETWORKS)}"
        )
    if table.NETWORKS[0] not in states:
        raise ValueError(f"{method} cannot be imported without its {table.NETWORKS[0]}")
    states = {net: _plain(state) for net, state in states.items()}
    fields = table.config(states)
    own = fields.setdefault("image_size", image_size or PUBLISHED_SIZE)
    if image_size not in (None, own):
        raise ValueError(f"the critic is for {own}x{own} images, not {image_size}")
    fields[table.CONDITIONS] = _conditions(table.CONDITIONS, fields[table.CONDITIONS], conditions)
    config = {"method": method, **fields}
    model = torch_tables.model_of(config)
    shapes = torch_tables.shapes_of(model)
    names = table.names({net: shapes[net] for net in table.NETWORKS})
    read = {net: _params(net, states[net], names[net], shapes[net]) for net in states}
    nets: Nets = read
    if set(read) != set(shapes):
        # XLA compiles the initial draws several times faster with its own generator.
        key = jax.random.key(0, impl="rbg")
        nets = jax.jit(model.init)(key, torch_tables.example(model)) | read
    # Shapes of the optimisers' states depend on no field; rates are only read in training.
    optimizers = methods.load(method).build_optimizers(ConfigDict({"adam": (0.5, 0.999)}))
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
    """The command that trains on, with each field that its config file has otherwise."""
    name = torch_tables.table_of(config["method"]).CONFIG
    usual = flatten_dict(config_words.load(name).to_dict(), sep=".")
    words = ["python", "-m", "ganimation_jax.main", f"--config=configs/{name}.py"]
    for field, value in flatten_dict(dict(config), sep=".").items():
        if isinstance(value, list | tuple):
            value = ",".join(value) if isinstance(usual[field], str) else tuple(value)
        if value != usual[field]:
            words.append(f"--config.{field}={value}")
    return shlex.join([*words, f"--workdir={workdir}", "--config.data.dir=DIR"])


def main(argv: list[str] | None = None) -> int:
    """Write the run.

    Returns:
      The exit code: 0, or 2 with one line on stderr when the input is refused.
    """
    args = _parser().parse_args(argv)
    try:
        others = torch_tables.networks_given(args.critic, args.net)
        files = torch_tables.files_of(args.method, args.generator, others)
        config, state = import_published(
            args.method,
            {net: read_state_dict(file) for net, file in files.items()},
            args.image_size,
            tuple(args.conditions.split(",")) if args.conditions else None,
        )
        write_run(args.out, config, state)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if new := [net for net in state.nets if net not in files]:
        print(
            f"WARNING: NEW, UNTRAINED {', '.join(new)}: no weights of it were given. Edit with the "
            "run as it is; before fine-tuning, prefer the networks that were trained together.",
            file=sys.stderr,
        )
    table = torch_tables.table_of(args.method)
    sizes = [f"{net} {parameter_count(params):,}" for net, params in state.nets.items()]
    print(
        f"{args.out}: {args.method}, parameters: {', '.join(sizes)}; conditions "
        f"{' '.join(config[table.CONDITIONS])}; {config['image_size']}x{config['image_size']}\n"
        f"To train on:\n\n  {fine_tune_command(config, args.out)}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ganimation import-torch",
        description="Make a run from PyTorch weights of the published codes, to edit with and to "
        "train on from. 'ganimation export --format torch' is the way back.",
    )
    add = parser.add_argument
    default = methods.METHODS[0]
    add("--method", default=default, choices=methods.METHODS, help=f"default: {default}")
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
    add(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="if no network that was given says it (default: 128)",
    )
    add(
        "--conditions",
        "--action-units",
        metavar="NAME,...",
        help="what the faces are edited by, in the networks' order, if it is not what the "
        "published models were trained on: AU04,AU12 or Smiling,Young or emotion=happy",
    )
    return parser


def _conditions(
    field: str, found: tuple[str, ...] | range, asked: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The names in the networks' order.

    Args:
      field: of the config, for messages.
      found: the names of the published model, or how many conditions the networks may have.
      asked: by the user.

    Raises:
      ValueError: there must be names, or others.
    """
    words = field.replace("_", " ")
    counts = found if isinstance(found, range) else range(len(found), len(found) + 1)
    if asked is None:
        if isinstance(found, range):
            raise ValueError(
                f"the files do not say which {counts[-1]} {words} the networks have: name them "
                f"with --{field.replace('_', '-')}"
            )
        return tuple(found)
    if len(asked) not in counts:
        raise ValueError(f"{len(asked)} {words} are named, but the networks have {counts[-1]}")
    if twice := sorted({name for name in asked if asked.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)}: named more than once among the {words}")
    return tuple(str(one) for one in parse(asked))


def _params(net: str, state: StateDict, names: Mapping[str, str], shapes: Params) -> Params:
    missing = sorted(set(names.values()) - set(state))
    left_over = sorted(set(state) - set(names.values()))
    if missing or left_over:
        raise ValueError(f"{net} does not match: missing {missing}, left over {left_over}")
    flat = {path: from_torch(path, state[name]) for path, name in names.items()}
    params = unflatten_dict(flat, sep="/")
    torch_tables.check_arrays(net, params, shapes, names)
    return params


def _plain(state: StateDict) -> StateDict:
    plain = {name.removeprefix("module."): np.asarray(array) for name, array in state.items()}
    unused = [name for name in plain if name.endswith(UNUSED)]
    if unused:
        log.warning("%d running statistics ignored: published codes never used them", len(unused))
    return {name: array for name, array in plain.items() if name not in unused}


if __name__ == "__main__":
    sys.exit(main())
