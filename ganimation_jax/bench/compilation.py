"""Compilation of the training step, cold and from the persistent cache.

Each in a process of its own: within one, jax would remember.
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
    """Compile with an empty cache folder, then again with what that left in it.

    Call it before this process touches a GPU: the others need its memory.

    Yields:
      Table and row.
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
                raise RuntimeError(f"compiling in a process of its own failed:\n{child.stderr}")
            yield (
                "compile",
                {"cache": name}
                | sizes._asdict()
                | json.loads(child.stdout.splitlines()[-1])
                | {"process_s": time.perf_counter() - start},
            )


def main() -> None:
    """In the child: compile the step for abstract arrays; prints seconds as JSON."""
    sizes = Sizes(**json.loads(sys.argv[1]))
    mesh = sharding.make_mesh()
    start = time.perf_counter()
    lowered = workload.lower_step(sizes, mesh)
    middle = time.perf_counter()
    lowered.compile()
    print(json.dumps({"trace_s": middle - start, "compile_s": time.perf_counter() - middle}))


if __name__ == "__main__":
    main()
