"""Kernels of a program that XLA compiled for a GPU: their FLOPs and bytes, read from its text.

A kernel is an instruction outside fusions; those in the body of a loop count as often as it runs.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ganimation_jax.bench import hlo
from ganimation_jax.bench.targets import Accelerator

FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call"),
    *("after-all", "async-start", "async-done", "async-update"),
}
SLICES = ("dynamic-slice", "slice")
LANES = 8  # a tensor core's unit of bfloat16 channels; cuDNN pads to it


class Instruction(NamedTuple):
    """A line of a computation."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]  # names
    rest: str  # operands and attributes


class Kernel(NamedTuple):
    """What one kernel does in one run of it."""

    name: str
    kind: str  # convolution, product, transpose or other
    where: str  # the operation as jax names it
    times: int  # runs in one call of the program
    flops: float
    wasted: float  # products with padding: of channels to ``LANES``
    bytes: float  # read and written
    dtype: str  # of the products
    detail: str  # of a convolution: result, window

    def seconds(self, device: Accelerator, products: float = 1.0, memory: float = 1.0) -> float:
        """All runs, where ``device`` reaches these shares of its peaks."""
        peak = device.bfloat16 if self.dtype in ("bf16", "f16") else device.float32
        compute = (self.flops + self.wasted) / (products * peak)
        return self.times * max(compute, self.bytes / (memory * device.memory))


def read(text: str) -> list[Kernel]:
    """The kernels of a compiled program.

    Args:
      text: ``compiled.as_text()`` of XLA's GPU compiler.

    Raises:
      ValueError: a loop of unknown length.
    """
    bodies, entry = parse(text)
    trips, _ = hlo.computations(text)

    def walk(name: str, times: int) -> Iterator[Kernel]:
        shapes = {one.name: one.shape for one in bodies[name]}
        for one in bodies[name]:
            if one.opcode in ("while", "call"):
                count = hlo.trips(one.opcode, one.rest, trips)
                for callee in hlo.CALLED.findall(one.rest):
                    yield from walk(callee, times * count)
            elif one.opcode not in FREE:
                yield _kernel(one, shapes, bodies, times)

    return list(walk(entry, 1))


def parse(text: str) -> tuple[Mapping[str, list[Instruction]], str]:
    """The instructions of each computation, and the name of the entry."""
    bodies: dict[str, list[Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := hlo.COMPUTATION.match(line):
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif found := re.match(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$", line):
            operands = tuple(re.findall(r"%([\w.-]+)", found[4].partition(")")[0]))
            bodies[name].append(Instruction(found[1], found[2], found[3], operands, found[4]))
    return bodies, entry


def _kernel(
    one: Instruction,
    shapes: Mapping[str, str],
    bodies: Mapping[str, list[Instruction]],
    times: int,
) -> Kernel:
    operands = [shapes[name] for name in one.operands]
    called = hlo.CALLED.findall(one.rest) if one.opcode == "fusion" else []
    inner = bodies[called[0]] if called else []
    read = _read_by_fusion(operands, inner) if inner else map(hlo.byte_count, operands)
    size = sum(read) + hlo.byte_count(one.shape)
    where = re.search(r'op_name="([^"]*)"', one.rest)
    target = re.search(r'custom_call_target="__cudnn\$(\w+)"', one.rest)
    kind, flops, wasted, dtype, detail = "other", 0.0, 0.0, "", ""
    known = {each.name: each.shape for each in inner} or shapes
    dots = [each for each in inner or [one] if each.opcode == "dot"]
    if target:
        kind, dtype = "convolution", dims(one.shape)[0]
        flops, wasted, detail = _convolution(one, target[1], operands)
    elif dots:
        kind, dtype = "product", dims(known[dots[0].operands[0]])[0]
        flops = sum(_dot(each, known) for each in dots)
    elif one.opcode in ("transpose", "copy") or "transpose" in one.name:
        kind = "transpose"
    return Kernel(
        one.name, kind, where[1] if where else "", times, flops, wasted, size, dtype, detail
    )


def _read_by_fusion(operands: Iterable[str], inner: Iterable[Instruction]) -> Iterator[int]:
    """Bytes of each operand that a fusion reads: of one that is only sliced, the slices."""
    inner = list(inner)
    parameters = {
        int(one.rest.partition(")")[0]): one.name for one in inner if one.opcode == "parameter"
    }
    for place, shape in enumerate(operands):
        name = parameters.get(place)
        users = [one for one in inner if name in one.operands]
        if users and all(one.opcode in SLICES and one.operands[0] == name for one in users):
            yield sum(hlo.byte_count(one.shape) for one in users)
        else:
            yield hlo.byte_count(shape)


def dims(shape: str) -> tuple[str, tuple[int, ...]]:
    """Type and lengths of an array, or of the first array of a tuple."""
    found = hlo.ARRAY.search(shape)
    assert found, shape
    return found[1], tuple(int(n) for n in found[2].split(",") if n)


def _convolution(one: Instruction, target: str, operands: list[str]) -> tuple[float, float, str]:
    """FLOPs, those with padded channels, and a description; all arrays are ``b h w c``."""
    result, first, second = (dims(shape)[1] for shape in (one.shape, operands[0], operands[1]))
    window = re.search(r"window=\{([^}]*)\}", one.rest)
    # Positions of the output of the forward pass x taps x channels of its input and output.
    if target == "convBackwardFilter":  # input, gradient of the output -> kernel o h w i
        pixels, taps = math.prod(second[:3]), math.prod(result[1:3])
        channels = (result[3], result[0])
    elif target == "convBackwardInput":  # gradient of the output, kernel o h w i -> input
        pixels, taps = math.prod(first[:3]), math.prod(second[1:3])
        channels = (result[3], first[3])
    else:  # input, kernel o h w i -> output
        pixels, taps = math.prod(result[:3]), math.prod(second[1:3])
        channels = (first[3], result[3])
    flops = 2.0 * pixels * taps * math.prod(channels)
    padded = 2.0 * pixels * taps * math.prod(-(-n // LANES) * LANES for n in channels)
    detail = f"{target} {channels[0]}->{channels[1]} {window[1] if window else ''} = {result}"
    return flops, padded - flops, detail


def _dot(one: Instruction, shapes: Mapping[str, str]) -> float:
    """FLOPs of a matrix product."""
    left = dims(shapes[one.operands[0]])[1]
    axes = re.search(r"lhs_contracting_dims=\{([\d,]+)\}", one.rest)
    summed = math.prod(left[int(axis)] for axis in axes[1].split(",")) if axes else 1
    return 2.0 * math.prod(dims(one.shape)[1]) * summed
