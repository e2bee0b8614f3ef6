"""Several processes in one run: starting together, agreeing, stopping together.

JAX's own runtime does the work. Every process runs the same command; only process 0 writes what is
not an array.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

log = logging.getLogger(__name__)

# Exit codes.
AGAIN = 75  # EX_TEMPFAIL: nothing is wrong with the command, rerun it
USELESS = 2  # rerunning it cannot help
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
GRACE = 5.0  # seconds that the first process stays when it fails
COMPILING = 3600  # seconds that processes wait for one another to compile
# What JAX says if there is no cluster, and only then.
_ALONE = "coordinator_address should be defined"


def start(
    mode: str = "auto",
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    peer_timeout: int = 60,
) -> None:
    """Join the other processes of this run. Before anything else touches a device.

    Args:
      mode: "auto" joins the cluster that JAX finds itself in (SLURM, Open MPI 4, Kubernetes, TPU
        pods), or continues alone if there is none; "on" fails if there is none; "off" does not
        look for one.
      coordinator: ``host:port`` of process 0, outside a known cluster; give all three.
      processes: number of processes.
      process: number of this process, from 0.
      peer_timeout: seconds without a sign of life after which a process is taken for dead
        and the others stop.

    Raises:
      ValueError: some of the three are missing, or there is no cluster to join.
      RuntimeError: the others cannot be reached.
    """
    explicit = (coordinator, processes, process)
    if any(x is not None for x in explicit):
        if mode == "off" or None in explicit:
            raise ValueError(
                "several processes need --coordinator=HOST:PORT, --processes=N and --process=I "
                f"together, and not --distributed=off; got {mode}, {explicit}"
            )
        if not 0 <= process < processes:  # type: ignore[operator]
            raise ValueError(f"--process={process} is not one of 0 to {processes - 1}")  # type: ignore[operator]
    elif mode == "off":
        return
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=peer_timeout,
            shutdown_timeout_seconds=peer_timeout,
        )
    except ValueError as error:
        if _ALONE not in str(error):
            raise
        if mode == "on":
            raise ValueError(
                "--distributed=on, but no cluster is found; start with srun, mpirun or on a TPU "
                "pod, or give --coordinator, --processes and --process"
            ) from error


def check_devices() -> None:
    """Look for the devices of this process; before that, none is touched.

    Raises:
      ValueError: JAX_PLATFORMS names devices that this machine does not have.
    """
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # with and without a plugin for the device
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"JAX finds no device with JAX_PLATFORMS={asked!r}. Unset JAX_PLATFORMS, or "
            "install JAX for this device (pip install 'ganimation-jax[cuda]')"
        ) from error


def is_first() -> bool:
    """Whether this process writes what only one may write."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """The value that process 0 gives; waits for all processes."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def compiled_by_all(step_fn: Any) -> Callable[..., Any]:
    """``step_fn``, a ``jax.jit``, with its first call held until every process has compiled it.

    Each compiles for itself, and a process in its first exchange waits for the others for half a
    minute only (gloo on CPUs). This wait is the runtime's own: if one process dies meanwhile, JAX
    ends the others within ``peer_timeout``.
    """
    if jax.process_count() == 1:
        return step_fn
    met = False

    def call(*args: Any) -> Any:
        nonlocal met
        if not met:
            step_fn.lower(*args).compile()
            meet = ocp.multihost.get_barrier_sync_fn()
            meet(key="compiled", timeout_ms=COMPILING * 1000)
            met = True
        return step_fn(*args)

    return call


class Preemption:
    """Notices a request to stop: SIGTERM, or Ctrl-C in a single process.

    A second Ctrl-C interrupts at once. With several processes JAX passes the request on, and all
    of them see it at the same call. Use as a context manager.
    """

    def __init__(self) -> None:
        self._asked, self._calls = False, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # JAX's runtime listens for SIGTERM once it is distributed.
        if not _distributed() and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(number, self._before[number])

    def asked(self) -> bool:
        """Whether to save and stop now. All processes ask equally often."""
        self._calls += 1
        if _distributed():
            return multihost_utils.reached_preemption_sync_point(self._calls)
        return self._asked


class LeaveAtOnce:
    """Ends a process that fails beside others, without waiting for them.

    A normal exit from Python would wait for the others, and they for it. Errors in ``known`` are
    reported in one line, because they would recur. Use as a context manager.
    """

    def __init__(self, *known: type[Exception]):
        self._known = known

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or jax.process_count() == 1:
            return
        who = f"process {jax.process_index()} of {jax.process_count()}"
        if isinstance(error, self._known):
            text, code = f"error: {error} ({who})", USELESS
        elif isinstance(error, jax.errors.JaxRuntimeError) and OUT_OF_MEMORY not in str(error):
            text = (
                f"error: {who} lost another ({str(error).splitlines()[0]}); the same command on "
                "all hosts continues from the last checkpoint"
            )
            code = AGAIN
        else:
            text, code = "".join(traceback.format_exception(error)) + who, 1
        print(text, file=sys.stderr, flush=True)
        if is_first():  # the others are aborted when it ends: let them report first
            time.sleep(GRACE)
        os._exit(code)


def _distributed() -> bool:
    return jax.distributed.is_initialized()
