"""What all rooms share: a model as it is used, a method as it is trained, and their data.

An image is uint8 ``h w 3`` in [0, 255] on disk, in the loader and on its way to the device,
and float32 in [-1, 1] for the networks. A method of expression editing is one file in
``methods`` that makes two values: a ``Model``, all that using it needs, and a ``Training``,
all that training it needs. Nothing else knows the method.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Float, UInt8

from ganimation_jax.conditions import Condition as Condition
from ganimation_jax.conditions import Domain as Domain
from ganimation_jax.conditions import Sampling as Sampling
from ganimation_jax.edits import Edit as Edit

if TYPE_CHECKING:
    from jax import Array as Array
else:
    # NumPy's, too, where shapes are checked as the program runs: networks and losses take both.
    Array = jax.Array | np.ndarray

# Arrays that many functions take; single shapes are stated where they are used.
Images = Float[Array, "b h w 3"]  # in [-1, 1]
RawImages = UInt8[Array, "b h w 3"] | Images
Maps = Float[Array, "b h w c"]
Conditions = Float[Array, "b n"]
PerExample = Float[Array, " b"]

Params = Any  # a pytree of arrays
Nets = dict[str, Params]  # parameters of a model's networks, by name
Metrics = dict[str, Array]  # flat: "network/term" -> float32 scalar


# Data


class Batch(NamedTuple):
    """Faces, the conditions that they have and those that their edits are to have.

    Leading axes are ``b`` for losses and ``n b`` for a training step, n batches in order.
    """

    image: Array  # b h w 3, uint8 or float32 in [-1, 1]
    have: Array  # b n, float32: the conditions that the image shows
    want: Array  # b n, float32: those that the edit is to show
    other: Array | None = None  # b h w 3: a face that shows `want`; in a pair, the same person
    paired: Array | None = None  # b, bool: whether `other` is the true edit of `image`
    wrong: Array | None = None  # b n, float32: conditions that differ from `have`


class ResidentBatch(NamedTuple):
    """A ``Batch`` whose images are on the devices already: which, and which way round."""

    face: Array  # b, int32, place among the resident faces
    flip: Array  # b, bool, mirrored
    have: Array  # b n, float32
    want: Array  # b n, float32
    other: Array | None = None  # b, int32, place of the face that shows `want`
    paired: Array | None = None  # b, bool
    wrong: Array | None = None  # b n, float32


# Using a model


@runtime_checkable
class InitFn(Protocol):
    """Fresh parameters for examples of these shapes."""

    def __call__(self, key: Array, batch: Batch) -> Nets:
        """Run it under ``jit`` or ``eval_shape``."""
        ...


@runtime_checkable
class EditFn(Protocol):
    """Edit faces."""

    def __call__(self, nets: Nets, image: Array, want: Array, have: Array) -> Edit:
        """``b h w 3`` in [-1, 1], ``b n``, ``b n`` -> the edit."""
        ...


@runtime_checkable
class ReadFn(Protocol):
    """Read the conditions that faces show."""

    def __call__(self, nets: Nets, image: Array) -> Array:
        """``b h w 3`` in [-1, 1] -> ``b n``, not clipped."""
        ...


class Model(NamedTuple):
    """All that using a trained model needs: no loss and no optimiser."""

    conditions: tuple[Condition, ...]  # n, in the order of ``want`` and ``have``
    image_size: int
    init: InitFn
    edit: EditFn
    read: ReadFn | None  # None: the model reads no conditions
    edits_with: tuple[str, ...]  # networks that ``edit`` uses
    averaged: tuple[str, ...]  # networks of which the moving average is used
    reads_with: tuple[str, ...] = ()  # networks that ``read`` uses
    needs_have: bool = False  # whether ``edit`` depends on ``have``
    undoes: bool = True  # whether an edit back to ``have`` can undo one; not if it only adds

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(condition.name for condition in self.conditions)


# Training a model


@struct.dataclass
class State:
    """All that training changes. Random keys derive from ``step`` and are not stored."""

    step: Array  # int32 scalar: steps taken
    nets: Nets
    opt: dict[str, optax.OptState]  # by the optimiser's name
    ema: Nets  # moving averages of some networks: what evaluation and animation use
    memory: Any = ()  # what a method remembers besides: an image pool

    @property
    def used(self) -> Nets:
        """The networks as they are used: averaged where there is an average."""
        return {**self.nets, **self.ema}


@runtime_checkable
class StepFn(Protocol):
    """One training step."""

    def __call__(
        self, state: State, batches: Batch, run_key: Array, frozen: Params = ()
    ) -> tuple[State, Metrics]:
        """``batches`` has leaves ``n b ...``; the run's key is the same in all steps."""
        ...


class Optimizer(NamedTuple):
    """An optimiser of one or several networks."""

    trains: tuple[str, ...]  # their names; its state is over ``{name: params}``
    transform: optax.GradientTransformationExtraArgs  # ``update`` takes ``valid``
    before: Callable[[Nets], Nets] = lambda nets: nets  # of what a loss is computed on
    after: Callable[[Nets], Nets] = lambda nets: nets  # of what an update makes: clips weights


class Phase(NamedTuple):
    """A part of the training with a step of its own."""

    name: str
    share: float  # of all images
    step: StepFn


class Monitor(NamedTuple):
    """One way in which training fails, seen in a number made of metrics."""

    name: str
    reads: tuple[str, ...]  # metrics; a record that lacks one, or has no number for it, is skipped
    measure: Callable[..., float]  # of these metrics, in this order
    limit: float
    above: bool  # whether values from the limit upwards are bad, or those from it downwards
    symptom: str
    advice: str
    records: int = 5  # looked at together: one is a single batch, or a few


class DataFacts(NamedTuple):
    """What a method may know of the training set."""

    examples: int
    variance: float  # of the conditions over all examples, mean over the conditions
    shown: Mapping[str, int] = MappingProxyType({})  # examples that show each condition

    def epoch(self, sampling: Sampling) -> int:
        """Number of examples in an epoch: of two domains, the faces of the larger.

        Raises:
          ValueError: a domain has no faces, or the dataset does not have its condition.
        """
        if sampling.domains is None:
            return self.examples
        counts = []
        for name, shown in sampling.domains:
            if name not in self.shown:
                raise ValueError(
                    f"condition {name!r} is not in the dataset, which has {' '.join(self.shown)}"
                )
            counts.append(self.shown[name] if shown else self.examples - self.shown[name])
            if not counts[-1]:
                raise ValueError(f"no face of the dataset {'shows' if shown else 'lacks'} {name}")
        return max(counts)


class Training(NamedTuple):
    """All that training a model needs besides the model."""

    phases: tuple[Phase, ...]
    sampling: Sampling
    optimizers: Mapping[str, Optimizer]
    init_memory: Callable[[Nets], Any] = lambda nets: ()
    load_frozen: Callable[[], Params] = lambda: ()  # networks that are not trained, never saved
    monitors: tuple[Monitor, ...] = ()
    console: tuple[str, ...] = ()  # metrics to print while training


def to_float(image: Array) -> Array:
    """Uint8 [0, 255] to float32 [-1, 1]; float images pass unchanged."""
    if jnp.issubdtype(image.dtype, jnp.floating):
        return image
    return image.astype(jnp.float32) / 127.5 - 1


def to_uint8(image: Array) -> Array:
    """Float [-1, 1] to uint8 [0, 255], rounded to the nearest value, clipped."""
    return jnp.clip(jnp.round((image + 1) * 127.5), 0, 255).astype(jnp.uint8)


def parameter_count(params: Params) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
