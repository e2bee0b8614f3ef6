"""Checkpoints of version 0.1, whose states held one generator, one critic and one average."""

from typing import Any

import jax

from ganimation_jax.types import Nets, State

LAYOUT = 2  # of what is saved now; notes of version 0.1 name none


def is_old(note: dict[str, Any]) -> bool:
    """Whether a checkpoint with this note holds an old state."""
    return "layout" not in note


def as_saved(target: State) -> dict[str, Any]:
    """The old form of a state (or of its shapes) with a generator and a critic.

    Raises:
      ValueError: the state has other networks, so that no old checkpoint can fit it.
    """
    if set(target.nets) != {"generator", "critic"}:
        raise ValueError(
            "the checkpoint was saved by version 0.1, which knew a generator and a critic; this "
            f"method has {', '.join(target.nets)}"
        )
    return {
        "step": target.step,
        "ema": target.ema["generator"],
        **{
            name: {"params": target.nets[name], "opt_state": _bare(target.opt[name], name)}
            for name in ("generator", "critic")
        },
    }


def as_now(saved: dict[str, Any], target: State) -> State:
    """The reverse of ``as_saved``: leaves of ``saved`` in the structure of ``target``."""
    nets = {name: saved[name]["params"] for name in ("generator", "critic")}
    opt = {
        name: jax.tree.unflatten(
            jax.tree.structure(target.opt[name]), jax.tree.leaves(saved[name]["opt_state"])
        )
        for name in nets
    }
    return State(step=saved["step"], nets=nets, opt=opt, ema={"generator": saved["ema"]})


def networks(tree: dict[str, Any]) -> dict[str, Any]:
    """The part of an old state's tree that is needed to use it."""
    return {
        "generator": {"params": tree["generator"]["params"]},
        "critic": {"params": tree["critic"]["params"]},
        "ema": tree["ema"],
    }


def weights(read: dict[str, Any]) -> tuple[Nets, Nets]:
    """Networks and averages from what was read of an old state."""
    nets = {name: read[name]["params"] for name in ("generator", "critic")}
    return nets, {"generator": read["ema"]}


def _bare(opt_state: Any, name: str) -> Any:
    """``opt_state`` over the parameters of one network, not over ``{name: parameters}``."""

    def single(node: Any) -> bool:
        return isinstance(node, dict) and set(node) == {name}

    return jax.tree.map(lambda x: x[name] if single(x) else x, opt_state, is_leaf=single)
