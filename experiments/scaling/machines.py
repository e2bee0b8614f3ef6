"""How long a step takes on many devices: arithmetic on published speeds, no measurement.

A ring passes ``(n - 1) / n`` of an array out of each of n devices to gather it, as much to reduce
and scatter it, and both to all-reduce it: no algorithm sends less without help from switches
(P. Patarasu, X. Yuan, *Bandwidth optimal all-reduce algorithms for clusters of workstations*,
2009). All sizes are bytes, all times seconds.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ganimation_jax.bench.hlo import Collective

PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}
ADAM = 28  # bytes a parameter: reads it, two moments and a gradient; writes it and the moments
AVERAGE = 8  # more of the generator: its average, read and written


class Link(NamedTuple):
    """What a device sends through."""

    bandwidth: float  # bytes a second, one way, out of one device
    latency: float  # seconds a hop


class Machine(NamedTuple):
    """Devices in nodes; or in a torus, where a node is all of them."""

    name: str
    devices: int
    peak: float  # FLOP/s, bfloat16
    memory: float  # bytes a second
    node: int  # devices that ``inside`` connects
    inside: Link
    between: Link
    torus: tuple[int, int] | None = None  # ``inside`` is then one of a chip's four links


# Published speeds; README.md cites each.
NVLINK = Link(450e9, 3.4e-6)
NDR = Link(50e9, 14e-6)
ICI = Link(50e9, 1e-6)
H100 = Machine("8 x H100", 8, 989e12, 3.35e12, 8, NVLINK, NDR)
MACHINES = (
    H100,
    H100._replace(name="64 x H100", devices=64),
    Machine("TPU v5e-256", 256, 197e12, 819e9, 256, ICI, ICI, (16, 16)),
)


class Step(NamedTuple):
    """Of one device; the same on each."""

    flops: float
    update: float  # bytes that the optimisers move to and from memory
    images: int
    exchanges: tuple[tuple[Collective, int], ...]  # and how often


class Prediction(NamedTuple):
    """Of a step; seconds of one device."""

    compute: float
    communication: float

    @property
    def no_overlap(self) -> float:
        """Share of one device's speed that each keeps if it waits for every exchange."""
        return self.compute / (self.compute + self.communication)

    @property
    def full_overlap(self) -> float:
        """The same if exchanges cost only what they take longer than the computation."""
        return self.compute / max(self.compute, self.communication)


def predict(machine: Machine, step: Step, fraction: float) -> Prediction:
    """Times of a step.

    Args:
      machine: where.
      step: what.
      fraction: of its peak that a device reaches in the networks' passes.
    """
    return Prediction(
        compute=step.flops / (fraction * machine.peak) + step.update / machine.memory,
        communication=sum(n * seconds(machine, exchange) for exchange, n in step.exchanges),
    )


def seconds(machine: Machine, exchange: Collective) -> float:
    """One exchange, by rings: within nodes, then between them with a node's part on each device."""
    size = len(exchange.group)
    if size == 1:
        return 0.0
    inside = _in_first_node(machine, exchange.group)
    nodes = size // inside
    if exchange.kind in PASSES:
        passes = PASSES[exchange.kind]
        local, hops = _local(machine, inside)
        return passes * (
            _ring(exchange.bytes, inside, local, hops)
            + _ring(exchange.bytes / inside, nodes, machine.between, nodes - 1)
        )
    link = machine.inside if nodes == 1 else machine.between
    share = (size - 1) / size if exchange.kind == "all-to-all" else 1
    return share * exchange.bytes / link.bandwidth + link.latency


def update_bytes(generator: int, critic: int, n_critic: int, fsdp: int = 1) -> float:
    """What Adam and the moving average move in a step, on each of ``fsdp`` devices.

    Args:
      generator: its parameters.
      critic: likewise.
      n_critic: its updates in a step.
      fsdp: devices that share one copy of the state.
    """
    return (ADAM * (n_critic * critic + generator) + AVERAGE * generator) / fsdp


def _in_first_node(machine: Machine, group: Iterable[int]) -> int:
    nodes = [device // machine.node for device in group]
    return nodes.count(nodes[0])


def _local(machine: Machine, size: int) -> tuple[Link, int]:
    """The link out of a device for a group in one node, and hops of a ring through the group."""
    if machine.torus is None:
        return machine.inside, size - 1
    if size == machine.devices:  # along both axes at once, both ways: all four links
        fast = machine.inside._replace(bandwidth=4 * machine.inside.bandwidth)
        return fast, sum(machine.torus) - 2
    return machine.inside, size - 1  # a line with no way around: one link


def _ring(size: float, n: int, link: Link, hops: int) -> float:
    return (n - 1) / n * size / link.bandwidth + hops * link.latency
