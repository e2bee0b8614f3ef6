"""The smallest training run there is, as users start it, and what it leaves."""

import ast
import os
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
from helpers import ROOT

from configs import synthetic

TINY = (
    "--config=configs/synthetic.py:smoke",
    "--config.image_size=16",
    "--config.generator.width=4",
    "--config.generator.residual_blocks=1",
    "--config.critic.width=4",
    "--config.epochs=1.0",  # 256 faces: 16 steps of 2 x 8 images
    "--config.every.log=16",
    "--config.every.checkpoint=16",
    "--config.every.sample=10000",
    "--config.every.evaluate=10000",
    "--config.keep.latest=20",
    "--config.evaluate.examples=8",
    "--config.evaluate.controlled_faces=2",
    "--config.wandb.mode=disabled",
)


def tiny_config(**changes):
    """The same as a config; ``changes`` by flattened name, ``__`` for dots."""
    cfg = synthetic.get_config("smoke")
    flags = dict(flag.removeprefix("--config.").split("=") for flag in TINY[1:])
    fields = {name: _literal(text) for name, text in flags.items()}
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    cfg.update_from_flattened_dict(fields)
    return cfg


def _literal(text):
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


def devices(count):
    """The environment of a process with so many virtual devices."""
    return {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("count=8", f"count={count}")}


def start(workdir, *flags, **environment):
    command = [sys.executable, "-m", "ganimation_jax.main", *flags, f"--workdir={workdir}"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(workdir, *flags, expect=0, **environment):
    with start(workdir, *flags, **environment) as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, output
    return output


def saved_steps(workdir):
    folder = workdir / "checkpoints"
    if not folder.exists():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def arrays_of(workdir, step):
    """All arrays of a checkpoint, by path, whatever devices they were saved from."""
    folder = (workdir / "checkpoints" / str(step) / "state").absolute()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        tree = reader.metadata(folder).item_metadata.tree
        on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        state = reader.restore(folder, ocp.args.PyTreeRestore(tree, on_host))
    leaves = jax.tree_util.tree_leaves_with_path(state)
    assert len(leaves) > 10
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same_arrays(one, other, step, of_largest=0.0):
    """The same checkpoint in two workdirs: bit for bit, or up to a share of each largest value."""
    got, want = arrays_of(one, step), arrays_of(other, step)
    assert got.keys() == want.keys()
    for path in want:
        # Instance norm makes some of this kernel's gradient zero but for rounding, which Adam
        # scales up to full steps.
        if of_largest and "['stem']" in path:
            continue
        atol = of_largest * float(np.abs(want[path]).max(initial=0))
        np.testing.assert_allclose(got[path], want[path], err_msg=path, rtol=0, atol=atol)
