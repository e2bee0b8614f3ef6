"""The measured workload: the paper's training iteration at any size, and its FLOPs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.parallel import sharding
from ganimation_jax.steps import updates
from ganimation_jax.steps.optimizers import adam
from ganimation_jax.types import Batch, Metrics, Model, Optimizer, State, StepFn

UNITS = len(ACTION_UNITS)
KEY = jax.eval_shape(lambda: jax.random.key(0))


class Sizes(NamedTuple):
    """Sizes of one training step; the defaults are the paper's."""

    image_size: int = 128  # pixels a side
    width: int = 64  # channels after the first convolution, in both networks
    batch: int = 25  # images per update, over all devices
    n_critic: int = 5  # critic updates per step
    dtype: str = "float32"  # of convolutions
    residual_blocks: int = 6

    @property
    def images(self) -> int:
        """Training images per step: those the critic sees."""
        return self.n_critic * self.batch


def networks(sizes: Sizes) -> tuple[Generator, Critic]:
    """The generator and the critic."""
    dtype = jnp.dtype(sizes.dtype)
    generator = Generator(sizes.width, sizes.residual_blocks, dtype=dtype)
    return generator, Critic(UNITS, sizes.width, dtype=dtype)


class Work(NamedTuple):
    """The paper's method at one size."""

    model: Model
    objectives: ganimation.Objectives
    optimizers: dict[str, Optimizer]

    def step(self) -> StepFn:
        """The step as training runs it on this backend."""
        return ganimation.step(self.objectives, self.optimizers, unroll=layers.on_cpu())

    def init(self) -> Callable[[jax.Array], State]:
        """A function from a key to a fresh state."""
        return updates.make_init(self.model, self.optimizers)


def build(sizes: Sizes) -> Work:
    """Model, losses and optimisers of the paper."""
    transform = adam(lambda _: 1e-4, 0.5, 0.999)
    pair = networks(sizes)
    return Work(
        ganimation.model_of(*pair, ACTION_UNITS, sizes.image_size),
        ganimation.objectives(*pair),
        {name: Optimizer((name,), transform) for name in ("generator", "critic")},
    )


def state_shapes(sizes: Sizes) -> State:
    """The shapes of the training state."""
    return jax.eval_shape(build(sizes).init(), KEY)


def initial_state(sizes: Sizes) -> State:
    """A fresh state on the host, because steps donate the copy that they are given."""
    return _initial_state(sizes._replace(batch=0, n_critic=0, dtype="float32"))


@functools.lru_cache(maxsize=1)  # compiling takes seconds and does not depend on the batch
def _initial_state(sizes: Sizes) -> State:
    init = jax.jit(build(sizes).init())
    return jax.device_get(init(jax.random.key(0, impl="rbg")))


def random_batch(sizes: Sizes) -> dict[str, Any]:
    """Random values in the shape of ``n_critic`` batches of the loader.

    Returns:
      ``image`` uint8 ``n b h h 3``, ``have`` and ``want`` float32 ``n b 17`` in [0, 1].
    """
    rng = np.random.default_rng(0)
    shape = (sizes.n_critic, sizes.batch)
    side = sizes.image_size
    return {
        "image": rng.integers(0, 256, (*shape, side, side, 3), np.uint8),
        "have": rng.random((*shape, UNITS), np.float32),
        "want": rng.random((*shape, UNITS), np.float32),
    }


def lower_step(sizes: Sizes, mesh: Mesh) -> jax.stages.Lowered:
    """The training step, ready to compile; see ``trace_step``."""
    return trace_step(sizes, mesh).lower()


def trace_step(sizes: Sizes, mesh: Mesh) -> jax.stages.Traced:
    """The training step, ready to lower; needs no arrays.

    Raises:
      ValueError: the batch is not divisible by the number of devices.
    """
    if sizes.batch % mesh.size:
        raise ValueError(f"--batch {sizes.batch} is not divisible by {mesh.size} devices")
    shapes = state_shapes(sizes)
    state_sharding, replicated = sharding.state_sharding(mesh, shapes), sharding.replicated(mesh)
    step = jax.jit(
        build(sizes).step(),
        donate_argnums=0,
        in_shardings=(state_sharding, sharding.batch_sharding(mesh), replicated),
        out_shardings=(state_sharding, replicated),
    )
    batch = jax.eval_shape(lambda: Batch(**random_batch(sizes)))
    return step.trace(shapes, batch, KEY)


def stepper(sizes: Sizes, mesh: Mesh, step: Callable[..., Any]) -> Callable[[], Metrics]:
    """A function that performs one more training step at each call, on a fixed batch."""
    fresh = initial_state(sizes)
    state = jax.device_put(fresh, sharding.state_sharding(mesh, fresh))
    batch = Batch(**sharding.place_batch(mesh, random_batch(sizes)))
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))

    def advance() -> Metrics:
        nonlocal state
        state, metrics = step(state, batch, key)
        return metrics

    return advance


def count_flops(fn: Callable[..., Any], *args: Any) -> float:
    """FLOPs of ``fn`` for arguments of these shapes, over all devices, by XLA's count.

    Counts the program before compilation and on the CPU, because plugins of accelerators can
    count neither that nor the library calls of a compiled program. Convolutions count as plain
    sums of products whatever formulation runs; multiplications with padding do not count.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    with (
        jax.default_device(jax.local_devices(backend="cpu")[0]),
        layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed),
    ):
        # A new function, because jit would reuse the formulations of an earlier trace.
        cost: Any = jax.jit(lambda *args: fn(*args)).lower(*shapes).cost_analysis()
    return cost["flops"]


def step_flops(sizes: Sizes) -> dict[str, float]:
    """FLOPs of a training step and of its parts, for the whole batch.

    XLA counts the body of a loop once, so its count of a whole step would be too low. The step
    is therefore the sum of its parts: ``n_critic`` times an edit and a critic update, plus one
    generator update.
    """
    work = build(sizes)
    state = state_shapes(sizes)
    side, batch = sizes.image_size, sizes.batch
    image, aus = jnp.zeros((batch, side, side, 3)), jnp.zeros((batch, UNITS))
    faces = Batch(image, aus, aus)

    def update(name: str, losses: Sequence[updates.LossFn]) -> Callable[..., Any]:
        def run(nets: Any, opt: Any, faces: Batch, fakes: Any, key: Any) -> Any:
            others = {other: params for other, params in nets.items() if other != name}
            given = updates.Given(others, faces, fakes, key, (), ())
            steps = [updates.Update(name, loss) for loss in losses]
            moving, opts = {name: nets[name]}, {name: opt[name]}
            return updates.run_updates(work.optimizers, steps, moving, opts, given)

        return run

    def there_and_back(params: Any, image: Any) -> Any:
        _, network = networks(sizes)
        return jax.grad(lambda x: network.apply({"params": params}, x)[0].sum())(image)

    given = (state.nets, state.opt, faces, image, KEY)
    edit = count_flops(work.objectives.fakes, state.nets, faces, KEY)
    critic = count_flops(update("critic", work.objectives.critic), *given)
    # The penalty contains the critic's pass to the score and back twice, for its value and for
    # its gradient; XLA merges the two (a test compares with the compiled program).
    critic -= count_flops(there_and_back, state.nets["critic"], image)
    generator = count_flops(update("generator", [work.objectives.generator]), *given)
    return {
        "edit": edit,
        "critic_update": critic,
        "generator_update": generator,
        "step": sizes.n_critic * (edit + critic) + generator,
    }
