"""What devices say to each other in a compiled step: read from its HLO text.

Counts instructions as often as they run: those in the body of a loop by its trip count. XLA's
compilers for CPUs and GPUs note it; otherwise it is read from the loop's condition.
"""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\) -> .* \{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = (.*?) ([a-z][\w-]*)\((.*)$")
CALLED = re.compile(r"\b(?:to_apply|calls|body)=%?([\w.-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
RANGE = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


Bodies = dict[str, list[tuple[str, str, str]]]


class Collective(NamedTuple):
    """One exchange. Of the groups that make it at the same time, the first."""

    kind: str
    bytes: (
        int  # of the whole array: what an all-gather ends with, what a reduce-scatter begins with
    )
    group: tuple[int, ...]  # devices, by their places in the mesh


def collectives(text: str, devices: int) -> dict[Collective, int]:
    """Every collective of a compiled program, with how often it runs in one call.

    Args:
      text: ``compiled.as_text()``, of XLA's CPU, GPU or TPU compiler.
      devices: that the program runs on.

    Raises:
      ValueError: a collective stands where the times it runs are not known, or has a form that
        is not read here.
    """
    bodies, entry = computations(text)
    counts: dict[str, collections.Counter[Collective]] = {}

    def count(name: str) -> collections.Counter[Collective]:
        if name not in counts:
            total: collections.Counter[Collective] = collections.Counter()
            for shape, opcode, rest in bodies[name]:
                if found := _collective(shape, opcode, rest, devices):
                    total[found] += 1
                called = CALLED.findall(rest)
                if opcode == "conditional":
                    called += _branches(rest)
                for callee in called:
                    inner = count(callee)
                    if not inner:
                        continue
                    times = trips(opcode, rest, bodies)
                    for exchange, n in inner.items():
                        total[exchange] += times * n
            counts[name] = total
        return counts[name]

    return dict(count(entry))


def computations(text: str) -> tuple[Bodies, str]:
    """Computation -> (shape, opcode, operands and attributes) of each instruction; the entry."""
    bodies: Bodies = {}
    entry = name = ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif name and (found := INSTRUCTION.match(line)):
            bodies[name].append((found[1], found[2], found[3]))
    if not entry:
        raise ValueError("no ENTRY computation: is this the text of a compiled program?")
    return bodies, entry


def trips(opcode: str, rest: str, bodies: Bodies) -> int:
    """How often the computations run that an instruction calls.

    Raises:
      ValueError: that is not known.
    """
    if opcode == "conditional":
        raise ValueError("a collective in a branch: it is not known how often it runs")
    if opcode != "while":
        return 1
    if known := TRIPS.search(rest):
        return int(known[1])
    # The counted loops of jax go from 0 by 1 while they are less than a constant.
    condition = re.search(r"\bcondition=%?([\w.-]+)", rest)
    instructions = bodies[condition[1]] if condition else []
    limits = [int(rest[:-1]) for _, op, rest in instructions if op == "constant"]
    compared = [rest for _, op, rest in instructions if op == "compare"]
    if len(limits) != 1 or len(compared) != 1 or "direction=LT" not in compared[0]:
        raise ValueError(f"a collective in a loop of unknown length: {rest[:200]}")
    return limits[0]


def _branches(rest: str) -> list[str]:
    found = re.search(r"branchcomputations=\{([^}]*)\}", rest)
    listed = found[1].replace("%", "").split(", ") if found else []
    return listed + re.findall(r"(?:true|false)_computation=%?([\w.-]+)", rest)


def _collective(shape: str, opcode: str, rest: str, devices: int) -> Collective | None:
    """The collective that an instruction is; of one in two parts, its start."""
    kind = opcode.removesuffix("-start")
    if kind not in KINDS:
        if "-done" not in opcode and opcode.startswith(("ragged-all", "collective-broadcast")):
            raise ValueError(f"{opcode} is not read here")
        return None
    parts = list(_elements(shape))
    if opcode != kind and kind != "all-reduce":
        parts = list(_elements(parts[1]))  # (operands, results, ...)
    size = sum(byte_count(part) for part in parts)
    if kind == "collective-permute":
        pairs = re.search(r"source_target_pairs=\{\{(\d+),(\d+)\}", rest)
        if not pairs:
            raise ValueError(f"no source and target: {rest[:200]}")
        group: tuple[int, ...] = (int(pairs[1]), int(pairs[2]))
    else:
        group = _first_group(rest, devices)
    return Collective(kind, size * len(group) if kind == "reduce-scatter" else size, group)


def _elements(shape: str) -> Iterator[str]:
    """What a tuple's type is made of; an array's type is itself."""
    shape = re.sub(r"/\*.*?\*/", "", shape).strip()
    if not shape.startswith("("):
        yield shape
        return
    depth, start = 0, 1
    for i, letter in enumerate(shape):
        depth += letter in "([{"
        depth -= letter in ")]}"
        if (letter == "," and depth == 1) or depth == 0:
            yield shape[start:i].strip()
            start = i + 1


def byte_count(shape: str) -> int:
    """Bytes of an array, or of all arrays of a tuple."""
    total = 0
    for dtype, sizes in ARRAY.findall(shape):
        total += BYTES[dtype] * int(np.prod([int(n) for n in sizes.split(",") if n]))
    return total


def _first_group(rest: str, devices: int) -> tuple[int, ...]:
    """The first of ``replica_groups``: a list, a range reshaped, or axes of a mesh."""
    if found := re.search(r"replica_groups=\{(?:\{([\d,]*)\}.*?)?\}", rest):
        return _ints(found[1]) if found[1] else tuple(range(devices))
    if found := re.search(rf"replica_groups=\[([\d,]+)\]<={RANGE}", rest):
        return _flat(_range(found[2], found[3]).reshape(_ints(found[1]))[0])
    if found := re.search(
        rf"replica_groups=mesh\[(.*?)\](?:, device_ids=\({RANGE}\))? \{{(.*?)\}}", rest
    ):
        axes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", found[1])}
        along = found[4].replace("'", "").split(",")
        if set(along) <= set(axes):  # else it names parts of axes
            places = _range(found[2] or str(devices), found[3]).reshape(tuple(axes.values()))
            return _flat(places[tuple(slice(None) if name in along else 0 for name in axes)])
    raise ValueError(f"replica groups of a form that is not read here: {rest[:300]}")


def _range(sizes: str, order: str | None) -> np.ndarray:
    """``[sizes]T(order)``: the devices in an array of these sizes, its axes transposed."""
    shape = _ints(sizes)
    return np.arange(np.prod(shape)).reshape(shape).transpose(_ints(order) if order else None)


def _flat(places: np.ndarray) -> tuple[int, ...]:
    return tuple(places.reshape(-1).tolist())


def _ints(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))
