"""Compilation of the training step, without and with the persistent cache.

Each compilation runs in a process of its own, because jax caches in memory, too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from ganimation_jax.bench import workload
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.parallel import sharding


def run(sizes: Sizes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compile with an empty cache folder, then with the cache that this left.

    Call it before this process uses a GPU, because the child processes need its memory.

    Yields:
      The table's name and a row.

    Raises:
      RuntimeError: a child process failed; the message has its output.
    """
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        command = [sys.executable, "-m", __name__, json.dumps(sizes._asdict())]
        for name in ("empty", "filled"):
            start = time.perf_counter()
            child = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if child.returncode:
                raise RuntimeError(f"compiling in a child process failed:\n{child.stderr}")
            yield (
                "compile",
                {"cache": name}
                | sizes._asdict()
                | json.loads(child.stdout.splitlines()[-1])
                | {"process_s": time.perf_counter() - start},
            )


def main() -> None:
    """Compile the step for abstract arrays and print seconds as JSON; runs in the child."""
    sizes = Sizes(**json.loads(sys.argv[1]))
    row = {"import_cpu_s": time.process_time()}  # of Python, JAX and the library
    mesh = sharding.make_mesh()
    start = time.perf_counter()
    traced = workload.trace_step(sizes, mesh)
    row["trace_s"] = (second := time.perf_counter()) - start
    lowered = traced.lower()
    row["lower_s"] = (third := time.perf_counter()) - second
    lowered.compile()  # with a filled cache: loads the program
    row["compile_s"] = time.perf_counter() - third
    # Of all threads: comparable between runs on a machine that does other work.
    print(json.dumps(row | {"cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
