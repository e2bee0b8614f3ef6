"""Each exact reformulation alone, against the plain form of the same function.

The plain forms are defined here, because the library does not need them. Both are timed in
alternating turns, and their results are compared.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from ganimation_jax.bench import timing, workload
from ganimation_jax.bench.workload import UNITS, Sizes
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import depth_for
from ganimation_jax.steps import losses, updates
from ganimation_jax.types import Batch, Nets, Params, to_float


class Pair(NamedTuple):
    """Two functions of the same arguments with the same result."""

    name: str
    fast: Callable[..., Any]
    plain: Callable[..., Any]
    args: tuple[Any, ...]
    in_use: bool  # whether training uses the fast form on this backend


def run(sizes: Sizes, repeats: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure every reformulation at ``sizes`` on one device.

    Yields:
      The table's name and a row.
    """
    makers = (
        hoisted_edits,
        constant_planes,
        joint_heads,
        transposed,
        convolution_layers,
        joint_judging,
        penalty,
        unrolled,
    )
    for make in makers:
        for pair in make(sizes):
            yield "exact", compare(pair, sizes, repeats)


def compare(pair: Pair, sizes: Sizes, repeats: int) -> dict[str, Any]:
    """Compare and time one pair; a row of the table."""
    fast, plain = jax.jit(pair.fast), jax.jit(pair.plain)
    difference = relative_l2(fast(*pair.args), plain(*pair.args))
    times = timing.measure(
        {"fast": lambda: fast(*pair.args), "plain": lambda: plain(*pair.args)},
        repeats,
        timing.STEADY,
    )
    ratios = [b / a for a, b in zip(times["fast"].seconds, times["plain"].seconds, strict=True)]
    return {
        "reformulation": pair.name,
        "in_use": pair.in_use,
        "fast_ms": 1e3 * times["fast"].median,
        "plain_ms": 1e3 * times["plain"].median,
        "plain_over_fast": timing.Times(ratios).median,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "relative_difference": difference,
        "dtype": sizes.dtype,
    }


def relative_l2(a: Any, b: Any) -> float:
    """Norm of the difference of two trees, relative to the norm of the second."""
    return float(optax.tree.norm(jax.tree.map(jnp.subtract, a, b)) / optax.tree.norm(b))


def both_passes(fn: Callable[..., Array]) -> Callable[..., Any]:
    """``fn`` and its gradients for all arguments, given the gradient of its result."""

    def run(cotangent: Array, *args: Array) -> Any:
        value, backward = jax.vjp(fn, *args)
        return value, backward(cotangent)

    return run


def noise(sizes: Sizes, *shapes: tuple[int, ...]) -> tuple[Float[Array, "..."], ...]:
    """Random arrays in the dtype of the convolutions."""
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return tuple(jax.random.normal(k, s, sizes.dtype) for k, s in zip(keys, shapes, strict=True))


def hoisted_edits(sizes: Sizes) -> Iterator[Pair]:
    """Edits for all critic updates: in one forward pass, or in each update."""
    fakes = workload.build(sizes).objectives.fakes
    nets = jax.device_put(workload.initial_state(sizes).nets)
    key = jax.random.key(0)
    batch = Batch(**jax.device_put(workload.random_batch(sizes)))
    batch = batch._replace(image=to_float(batch.image))

    def hoisted(nets: Nets, batch: Batch) -> Array:
        edited = fakes(nets, jax.tree.map(jnp.concatenate, batch), key)
        return edited.reshape(batch.image.shape)

    def in_loop(nets: Nets, batch: Batch) -> Array:
        def body(carry: None, one: Any) -> tuple[None, Array]:
            return carry, fakes(nets, one, key)

        return jax.lax.scan(body, None, batch, unroll=sizes.n_critic if layers.on_cpu() else 1)[1]

    yield Pair("edits hoisted out of the critic's loop", hoisted, in_loop, (nets, batch), True)


def constant_planes(sizes: Sizes) -> Iterator[Pair]:
    """The first convolution: without or with materialised planes of action units."""
    side, width, b = sizes.image_size, sizes.width, sizes.batch
    args = noise(sizes, (b, side, side, width), (b, side, side, 3), (b, UNITS))
    (kernel,) = noise(sizes, (7, 7, 3 + UNITS, width))

    def without(image: Array, values: Array, kernel: Array) -> Array:
        planes = cpu_convolutions.constant_planes(values, kernel[:, :, 3:], side, side)
        return layers.conv(image, kernel[:, :, :3]) + planes

    def made(image: Array, values: Array, kernel: Array) -> Array:
        planes = jnp.broadcast_to(values[:, None, None], (b, side, side, UNITS))
        return layers.conv(jnp.concatenate([image, planes], axis=-1), kernel)

    fast, plain = both_passes(without), both_passes(made)
    yield Pair("constant planes never made", fast, plain, (*args, kernel), True)


def joint_heads(sizes: Sizes) -> Iterator[Pair]:
    """Colour and attention heads: as one convolution, or as two."""
    side, width, b = sizes.image_size, sizes.width, sizes.batch
    args = noise(sizes, (b, side, side, 4), (b, side, side, width), (7, 7, width, 4))

    def joint(x: Array, kernel: Array) -> Array:
        return layers.conv(x, kernel)

    def apart(x: Array, kernel: Array) -> Array:
        heads = layers.conv(x, kernel[..., :3]), layers.conv(x, kernel[..., 3:])
        return jnp.concatenate(heads, axis=-1)

    yield Pair("both heads as one convolution", both_passes(joint), both_passes(apart), args, True)


def transposed(sizes: Sizes) -> Iterator[Pair]:
    """Both transposed convolutions: as sub-pixel convolutions in two ways, or XLA's own."""
    plain = both_passes(cpu_convolutions.transposed)
    for i, factor in enumerate((2, 1)):
        side, out = sizes.image_size // (4 >> i), sizes.width * factor
        shapes = (sizes.batch, 2 * side, 2 * side, out), (sizes.batch, side, side, 2 * out)
        args = noise(sizes, *shapes, (4, 4, 2 * out, out))
        for statement in (
            cpu_convolutions.transposed_subpixel,
            cpu_convolutions.transposed_winograd,
        ):
            in_use = layers.transposed_statement_of(2 * out, out) is statement
            yield Pair(
                f"up{i} by {statement.__name__}", both_passes(statement), plain, args, in_use
            )


class Layer(NamedTuple):
    """A convolution layer of the networks."""

    name: str
    side: int  # of its map
    channels: int
    features: int
    size: int  # of its kernel
    stride: int


def convolution_layers(sizes: Sizes) -> Iterator[Pair]:
    """Layers that have formulations besides XLA's own convolution."""
    side, width = sizes.image_size, sizes.width
    residual = Layer("residual", side // 4, 4 * width, 4 * width, 3, 1)
    yield restated(residual, cpu_convolutions.winograd, sizes)
    stem = Layer("stem", side, 3, width, 7, 1)
    yield restated(stem, cpu_convolutions.with_fourth_channel, sizes)
    heads = Layer("heads", side, width, 4, 7, 1)
    yield restated(heads, cpu_convolutions.to_few_features, sizes)
    for i in range(1, depth_for(side)):
        layer = Layer(f"critic down{i}", side >> i, width << (i - 1), width << i, 4, 2)
        yield restated(layer, cpu_convolutions.winograd, sizes)
        yield restated(layer, cpu_convolutions.patches, sizes)


def restated(layer: Layer, statement: cpu_convolutions.Statement, sizes: Sizes) -> Pair:
    """Both passes of a layer by one formulation, and by XLA's own convolution."""
    name, side, channels, features, size, stride = layer
    out = side // stride
    args = noise(
        sizes,
        (sizes.batch, out, out, features),
        (sizes.batch, side, side, channels),
        (size, size, channels, features),
    )
    return Pair(
        f"{name} by {statement.__name__}",
        both_passes(lambda x, kernel: statement(x, kernel, stride)),
        both_passes(lambda x, kernel: cpu_convolutions.direct(x, kernel, stride)),
        args,
        layers.statement_of(side, size, stride, channels, features) is statement,
    )


def joint_judging(sizes: Sizes) -> Iterator[Pair]:
    """The critic on real and edited images: together, or one after the other."""
    _, critic = workload.networks(sizes)
    params = jax.device_put(workload.initial_state(sizes).nets["critic"])
    side = sizes.image_size
    images = noise(sizes._replace(dtype="float32"), *[(sizes.batch, side, side, 3)] * 2)

    def score(params: Params, x: Array) -> Array:
        scores, _ = critic.apply({"params": params}, x)
        return scores.mean(axis=(1, 2))

    def joint(params: Params, real: Array, edited: Array) -> Array:
        real_score, edited_score = jnp.split(score(params, jnp.concatenate([real, edited])), 2)
        return (edited_score - real_score).mean()

    def apart(params: Params, real: Array, edited: Array) -> Array:
        return (score(params, edited) - score(params, real)).mean()

    name = "real and edited images judged at once"
    yield Pair(name, jax.grad(joint), jax.grad(apart), (params, *images), True)


def penalty(sizes: Sizes) -> Iterator[Pair]:
    """The penalty's gradient for the critic: forward over reverse, or reverse over reverse."""
    _, critic = workload.networks(sizes)
    params = jax.device_put(workload.initial_state(sizes).nets["critic"])
    side = sizes.image_size
    (mixed,) = noise(sizes._replace(dtype="float32"), (sizes.batch, side, side, 3))

    def score(params: Params, x: Array) -> Array:
        scores, _ = critic.apply({"params": params}, x)
        return scores.sum(axis=(1, 2))

    def product(params: Params, mixed: Array) -> Array:
        return losses.gradient_penalty(score, params, mixed)[0].mean()

    def reverse(params: Params, mixed: Array) -> Array:
        grads = jax.grad(lambda x: score(params, x).sum())(mixed)
        norm = jnp.sqrt(jnp.square(grads).sum(axis=(1, 2, 3)) + 1e-12)
        return jnp.square(norm - 1).mean()

    name = "penalty forward over reverse"
    yield Pair(name, jax.grad(product), jax.grad(reverse), (params, mixed), True)


def unrolled(sizes: Sizes) -> Iterator[Pair]:
    """The critic's updates: unrolled, or as a loop."""
    work = workload.build(sizes)
    state = jax.device_put(workload.initial_state(sizes))
    critic = {"critic": state.nets["critic"]}, {"critic": state.opt["critic"]}
    steps = [updates.Update("critic", loss) for loss in work.objectives.critic]
    batch = Batch(**jax.device_put(workload.random_batch(sizes)))
    batch = batch._replace(image=to_float(batch.image))
    keys = jax.random.split(jax.random.key(0), sizes.n_critic)

    def train(unroll: int) -> Callable[..., Any]:
        def run(critic: Any, batch: Any) -> Any:
            def body(critic: Any, inputs: Any) -> Any:
                one, edited, key = inputs
                given = updates.Given({}, one, edited, key, (), ())
                nets, opts, _, metrics = updates.run_updates(
                    work.optimizers, steps, critic[0], critic[1], given
                )
                return (nets, opts), metrics

            edited = batch.image[:, ::-1]  # noise, because only the critic's work counts here
            return jax.lax.scan(body, critic, (batch, edited, keys), unroll=unroll)[0][0]

        return run

    fast, plain = train(sizes.n_critic), train(1)
    yield Pair("critic updates unrolled", fast, plain, (critic, batch), layers.on_cpu())
