"""The compiled programs of a run, made in a thread while the run opens its data and its state.

XLA compiles outside Python's lock. The caller meanwhile draws the initial state, starts the logs
and reads the first batch.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ganimation_jax.parallel import processes, sharding
from ganimation_jax.steps import gathering, loops
from ganimation_jax.training import resident, variation
from ganimation_jax.types import Batch, Metrics, ResidentBatch, Sampling, State, Training

CompiledStep = Callable[..., tuple[State, Metrics]]


def build_steps(cfg: ConfigDict, mesh: Mesh, training: Training, shardings: Any) -> list[Any]:
    """The step of each phase under ``jit``, not compiled."""
    unroll = jax.default_backend() == "cpu"
    changes = variation.Variation.of(cfg.augment)

    def build(step: Any) -> Any:
        step = gathering.make_whole_step(step, sharding.gather(mesh))
        step = variation.make_varied_step(step, changes)
        if cfg.data.resident:
            step = resident.make_resident_step(step)
        return jax.jit(
            loops.repeat(step, unroll=unroll),
            donate_argnums=() if cfg.debug_nans else 0,  # it repeats the step to find them
            out_shardings=(shardings, sharding.replicated(mesh)),
        )

    return [build(phase.step) for phase in training.phases]


def start_compiling(
    steps: Sequence[Any], shapes: Sequence[Any], first: int, stack: contextlib.ExitStack
) -> tuple[CompiledStep, ...]:
    """Compile steps one after the other in a thread, in the order in which the run needs them.

    Args:
      steps: of ``build_steps``.
      shapes: their arguments, as shapes with shardings. A step that is called with others is
        compiled at that call.
      first: the phase that the run begins with. Those before it are compiled if they are called.
      stack: waits for the compilation that is under way, and drops those that have not begun.

    Returns:
      functions that wait for their program at their first call, with all other processes.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
    stack.callback(pool.shutdown, cancel_futures=True)

    def compile_ahead(step: Any) -> CompiledStep:
        under_way = pool.submit(_compile, step, *shapes)

        def prepare(*args: Any) -> None:
            under_way.result()  # re-raises the thread's error
            _compile(step, *args)

        return processes.prepared_by_all(prepare, step)

    passed = [processes.prepared_by_all(functools.partial(_compile, x), x) for x in steps[:first]]
    return *passed, *(compile_ahead(step) for step in steps[first:])


def _compile(step: Any, *args: Any) -> None:
    step.lower(*args).compile()  # at once if jax has the program for arguments of these shapes


def argument_shapes(
    cfg: ConfigDict, mesh: Mesh, sampling: Sampling, conditions: int, target: State, constants: Any
) -> tuple[Any, ...]:
    """The arguments of a step as shapes with shardings.

    Args:
      cfg: of the run.
      mesh: of the devices.
      sampling: what the loader draws.
      conditions: number of them.
      target: the state, as shapes with shardings.
      constants: the arguments that never change.
    """
    leading = (cfg.steps_per_call, sampling.batches, cfg.batch_size)
    placement = sharding.batch_sharding(mesh, leading=2)

    def of(dtype: str, *rest: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*leading, *rest), dtype, sharding=placement)

    values = of("float32", conditions)
    image = of("int32") if cfg.data.resident else of("uint8", cfg.image_size, cfg.image_size, 3)
    fields: dict[str, Any] = {"have": values, "want": values}
    fields |= {"face": image, "flip": of("bool")} if cfg.data.resident else {"image": image}
    if sampling.paired or sampling.domains:
        fields["other"] = image
    if sampling.paired:
        fields["paired"] = of("bool")
    if sampling.wrong:
        fields["wrong"] = values
    fixed = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), constants
    )
    return target, batch_kind(cfg)(**fields), *fixed


def batch_kind(cfg: ConfigDict) -> type[Batch] | type[ResidentBatch]:
    """What the loader's arrays make."""
    return ResidentBatch if cfg.data.resident else Batch
