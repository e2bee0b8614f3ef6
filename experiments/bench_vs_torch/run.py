"""PyTorch against JAX: the same training iteration, shapes and machine, taking turns.

    python experiments/bench_vs_torch/run.py --batch 4 --n-critic 5 --json results/cpu.json
    python experiments/bench_vs_torch/run.py --recipe people --peers torch,jax --parts step

Every peer is a process of its own that compiles, warms up and then waits, so memory, threads and
allocators do not interact and only one works at a time. This process lets them alternate, one
iteration each, so that a slow phase of the machine affects all of them.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ganimation_jax.bench import record  # noqa: E402
from ganimation_jax.bench.workload import UNITS, Sizes  # noqa: E402

TORCH = {
    "torch": "PUBLISHED",  # eager float32, as published
    "torch-best-float32": "BEST_FLOAT32",
    "torch-best": "BEST",  # and bfloat16
}
JAX = {"jax": "float32", "jax-bfloat16": "bfloat16"}
ONNX = "onnxruntime"  # the generator alone
PEERS = (*TORCH, *JAX, ONNX)
PARTS = ("step", "edit")  # a training iteration; the generator's forward pass on one batch
RECIPES = ("paper", "people")  # presets of configs/emotionet.py


def people_config(sizes: Sizes) -> Any:
    """The preset `people` at these sizes; its networks have their own width."""
    from configs import emotionet

    cfg = emotionet.get_config("people")
    cfg.image_size, cfg.batch_size = sizes.image_size, sizes.batch
    return cfg


def torch_people_peer(sizes: Sizes) -> tuple[dict[str, Callable[[], Any]], Callable[[], int]]:
    """As ``torch_peer``, of the recipe `people`."""
    import torch
    import torch_people

    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = torch_people.Trainer(people_config(sizes), device)
    shape = (2, sizes.batch, 3, sizes.image_size, sizes.image_size)
    image, other = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    have, want = torch.rand(2, sizes.batch, UNITS, device=device)

    def step() -> None:
        trainer.iteration(image, have, want, other)
        if device == "cuda":
            torch.cuda.synchronize()

    def memory() -> int:
        return torch.cuda.max_memory_allocated() if device == "cuda" else peak_rss()

    return {"step": step}, memory


def jax_people_peer(sizes: Sizes) -> tuple[dict[str, Callable[[], Any]], Callable[[], int]]:
    """As ``jax_peer``, of the recipe `people`."""
    import jax

    from ganimation_jax.bench import method_step
    from ganimation_jax.parallel import sharding

    mesh, cfg = sharding.make_mesh(devices=jax.devices()[:1]), people_config(sizes)
    advance = method_step.stepper(cfg, mesh, method_step.lower(cfg, mesh).compile())

    def memory() -> int:
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else peak_rss()

    return {"step": lambda: jax.block_until_ready(advance())}, memory


def torch_peer(name: str, sizes: Sizes) -> tuple[dict[str, Callable[[], Any]], Callable[[], int]]:
    """The parts, each waiting for its end, and the peak memory of the device in bytes."""
    import torch
    import torch_ganimation

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = getattr(torch_ganimation, TORCH[name])
    trainer = torch_ganimation.Trainer(
        sizes.image_size, sizes.width, sizes.residual_blocks, device, options
    )
    lead, side = (sizes.n_critic, sizes.batch), sizes.image_size
    image = torch.randint(0, 256, (*lead, 3, side, side), dtype=torch.uint8, device=device)
    aus, target = torch.rand(2, *lead, UNITS, device=device)
    first = trainer.prepare(image[0])

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def step() -> None:
        trainer.iteration(image, aus, target)
        wait()

    def edit() -> None:
        trainer.edits([first], target[:1])
        wait()

    def memory() -> int:
        return torch.cuda.max_memory_allocated() if device == "cuda" else peak_rss()

    return {"step": step, "edit": edit}, memory


def jax_peer(
    name: str, sizes: Sizes, wanted: list[str]
) -> tuple[dict[str, Callable[[], Any]], Callable[[], int]]:
    """As ``torch_peer``; only what is wanted is compiled."""
    import jax

    from ganimation_jax.bench import workload
    from ganimation_jax.parallel import sharding
    from ganimation_jax.types import to_float

    sizes = sizes._replace(dtype=JAX[name])
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    model = workload.build(sizes).model
    nets = workload.initial_state(sizes).nets
    nets = jax.device_put({name: nets[name] for name in model.edits_with})
    batch = workload.random_batch(sizes)
    image = jax.device_put(to_float(batch["image"][0]))
    want, have = jax.device_put((batch["want"][0], batch["have"][0]))
    edit = jax.jit(model.edit)

    def memory() -> int:
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else peak_rss()

    parts = {"edit": lambda: jax.block_until_ready(edit(nets, image, want, have))}
    if "step" in wanted:
        advance = workload.stepper(sizes, mesh, workload.lower_step(sizes, mesh).compile())
        parts["step"] = lambda: jax.block_until_ready(advance())
    return parts, memory


def onnx_peer(sizes: Sizes) -> tuple[dict[str, Callable[[], Any]], Callable[[], int]]:
    """As ``torch_peer``: the JAX generator as its ONNX export, there and back on the host."""
    import tempfile

    import onnxruntime

    from ganimation_jax.bench import workload
    from ganimation_jax.interop.onnx_files import save_onnx

    sizes = sizes._replace(dtype="float32", n_critic=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        save_onnx(path, workload.build(sizes).model, workload.initial_state(sizes).nets)
        session = onnxruntime.InferenceSession(
            path, providers=onnxruntime.get_available_providers()
        )
    batch = workload.random_batch(sizes)
    inputs = {
        "image": batch["image"][0].astype("float32") / 127.5 - 1,
        "aus": batch["want"][0],
    }
    return {"edit": lambda: session.run(None, inputs)}, peak_rss


def peak_rss() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(name: str, recipe: str, sizes: Sizes, wanted: list[str]) -> None:
    """A peer's process: for every part named on stdin, do it and answer with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else prints

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers)

    start = time.perf_counter()
    if name == ONNX:
        package = "onnxruntime"
        parts, memory = onnx_peer(sizes)
    elif name in TORCH:
        package = "torch"
        people = recipe == "people"
        parts, memory = torch_people_peer(sizes) if people else torch_peer(name, sizes)
    else:
        package = "jax"
        people = recipe == "people"
        parts, memory = jax_people_peer(sizes) if people else jax_peer(name, sizes, wanted)
    parts = {part: parts[part] for part in wanted if part in parts}
    for run in parts.values():
        run()
        run()  # twice: the first compiles, the second may still tune
    version = importlib.metadata.version(package)
    answer(start_s=time.perf_counter() - start, version=f"{package} {version}", parts=list(parts))
    for request in sys.stdin:
        start = time.perf_counter()
        parts[request.strip()]()
        answer(seconds=time.perf_counter() - start, memory=memory())


class Peer:
    """A peer's process, from outside."""

    def __init__(self, name: str, recipe: str, sizes: Sizes, parts: list[str]):
        self.name = name
        self.parts: list[str] = []  # what it can do of these
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}
        self.memory = 0
        command = [sys.executable, __file__, "--serve", name, recipe]
        command += [json.dumps(sizes._asdict()), *parts]
        # Threads of PyTorch's OpenMP spin while they wait: with anything else on the machine an
        # iteration then takes ten times as long.
        env = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
        # JAX would take most of the GPU's memory in advance, which the others need.
        env |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe)

    def answer(self, seconds: float) -> dict[str, Any]:
        """Its next line.

        Raises:
          TimeoutError, RuntimeError: none came; it has been stopped.
        """
        stream = self._process.stdout
        assert stream is not None  # it is a pipe
        if not select.select([stream], [], [], max(0, seconds))[0]:
            self.stop()
            raise TimeoutError(f"{self.name}: not ready within {seconds:.0f} s")
        text = stream.readline()
        if not text:
            raise RuntimeError(f"{self.name}: stopped with code {self._process.wait()}; see above")
        return json.loads(text)

    def measure(self, part: str, deadline: float) -> None:
        """One more sample."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(f"{part}\n".encode())
        self._process.stdin.flush()
        answer = self.answer(deadline - time.monotonic())
        self.seconds[part].append(answer["seconds"])
        self.memory = answer["memory"]

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()  # reaps it, closes both pipes


def rows(peers: list[Peer], sizes: Sizes) -> list[dict[str, Any]]:
    """Medians, and ratios to the first peer within each turn."""
    table = []
    for part, images in (("step", sizes.images), ("edit", sizes.batch)):
        for peer in peers:
            seconds, base = peer.seconds[part], peers[0].seconds[part]
            if seconds:
                ratios = [a / b for a, b in zip(base, seconds, strict=False)]
                median = statistics.median(seconds)
                row = {"part": part, "peer": peer.name, "median_ms": 1e3 * median}
                row |= {"min_ms": 1e3 * min(seconds), "max_ms": 1e3 * max(seconds)}
                row |= {"images_per_s": images / median, "samples": len(seconds)}
                row |= {f"faster_than_{peers[0].name}": statistics.median(ratios)}
                table.append(row | {"peak_mib": peer.memory / 2**20})
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    sizes = Sizes()
    parser.add_argument("--peers", default=",".join((*TORCH, *JAX)), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default="paper",
        help="people: of the preset, whose width, blocks and updates are fixed",
    )
    parser.add_argument("--image-size", type=int, default=sizes.image_size)
    parser.add_argument("--width", type=int, default=sizes.width)
    parser.add_argument("--residual-blocks", type=int, default=sizes.residual_blocks)
    parser.add_argument("--batch", type=int, default=sizes.batch)
    parser.add_argument("--n-critic", type=int, default=sizes.n_critic)
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument(
        "--minutes",
        type=float,
        default=60.0,
        help="then report what there is; peers have 70%% of it to compile",
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = args.peers.split(",")
    if unknown := set(names) - set(PEERS):
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are: {', '.join(PEERS)}")
    parts = args.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--parts {args.parts}: there are {', '.join(PARTS)}")
    if args.recipe == "people":
        if not (set(names) <= {"torch", "jax"} and parts == ["step"]):
            parser.error("--recipe people has the peers torch and jax and the part step")
        args.n_critic = 1
    sizes = Sizes(args.image_size, args.width, args.batch, args.n_critic, "", args.residual_blocks)
    start = time.monotonic()
    deadline, ready_by = start + 60 * args.minutes, start + 0.7 * 60 * args.minutes

    result = record.Record(args.json, ["python", *sys.argv])
    peers, problems = [], {}
    for name in names:  # one after the other: compilers tune by the clock
        peer = Peer(name, args.recipe, sizes, parts)
        try:
            ready = peer.answer(ready_by - time.monotonic())
            peer.parts = ready.pop("parts")
        except (TimeoutError, RuntimeError) as error:
            problems[name] = str(error)
            print(f"error: {error}", file=sys.stderr)
            continue
        print(f"{name}: {record.line(ready)}", file=sys.stderr)
        result.add("start", {"peer": name} | ready)
        peers.append(peer)
    try:
        for _ in range(args.repeats):
            for part in parts:
                for peer in (one for one in peers if part in one.parts):
                    peer.measure(part, deadline)
    except (TimeoutError, RuntimeError) as error:
        problems["turns"] = str(error)
        print(f"error: {error}", file=sys.stderr)
    for peer in peers:
        peer.stop()
    result.tables["compare"] = rows(peers, sizes)
    result.write(
        complete=not problems, sizes=sizes._asdict(), problems=problems, machine=record.machine()
    )
    print(result.text())
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], Sizes(**json.loads(sys.argv[4])), sys.argv[5:])
    else:
        sys.exit(main())
