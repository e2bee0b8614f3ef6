"""Run on several processes: start together, agree on values, stop together.

This uses JAX's distributed runtime. Every process runs the same command. All processes write
arrays; only process 0 writes anything else.
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
AGAIN = 75  # EX_TEMPFAIL: the command is right; rerun it
USELESS = 2  # the command fails again if it is rerun
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
GRACE = 5.0  # seconds that process 0 waits before it exits on failure
COMPILING = 3600  # seconds that processes wait for each other to compile
# JAX's error message if there is no cluster, and in no other case.
_ALONE = "coordinator_address should be defined"


def start(
    mode: str = "auto",
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    peer_timeout: int = 60,
) -> None:
    """Join the other processes of this run. Call this before anything uses a device.

    Outside a cluster that JAX detects, give ``coordinator``, ``processes`` and ``process``.

    Args:
      mode: "auto" joins the cluster that JAX detects (SLURM, Open MPI 4, Kubernetes, TPU
        pods), or runs as a single process if there is none; "on" fails if there is none;
        "off" does not look for one.
      coordinator: ``host:port`` of process 0.
      processes: number of processes.
      process: index of this process, from 0.
      peer_timeout: seconds without a heartbeat after which a process counts as dead and the
        others stop.

    Raises:
      ValueError: only some of the three are given, or there is no cluster to join.
      RuntimeError: the other processes cannot be reached.
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
    """Initialise the devices of this process and check that there are some.

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
    """Whether this is process 0, which writes the files that only one process may write."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """Broadcast the value of process 0 to all processes; waits for all of them."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def prepared_by_all(
    prepare: Callable[..., None], step_fn: Callable[..., Any]
) -> Callable[..., Any]:
    """Delay the first call of ``step_fn`` until every process has run ``prepare``.

    Each process compiles on its own, and the first collective operation waits only half a minute
    for the others (gloo on CPUs). The barrier used here is the runtime's own: if a process dies
    meanwhile, JAX stops the others within ``peer_timeout``.

    Args:
      prepare: compiles; takes the arguments of the first call.
      step_fn: what is called then, and later.
    """
    prepared = False

    def call(*args: Any) -> Any:
        nonlocal prepared
        if not prepared:
            prepare(*args)
            if jax.process_count() > 1:
                meet = ocp.multihost.get_barrier_sync_fn()
                meet(key="compiled", timeout_ms=COMPILING * 1000)
            prepared = True
        return step_fn(*args)

    return call


class Preemption:
    """Detects a request to stop: SIGTERM, or Ctrl-C in a single process.

    A second Ctrl-C interrupts at once. With several processes, JAX forwards the request, and all
    of them see it at the same call of ``asked``. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._asked, self._calls = False, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # The distributed runtime of JAX handles SIGTERM itself.
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
        """Whether to save and stop now. All processes must call this equally often."""
        self._calls += 1
        if _distributed():
            return multihost_utils.reached_preemption_sync_point(self._calls)
        return self._asked


class LeaveAtOnce:
    """Ends a failed process at once if the run has several processes.

    A normal exit of Python would deadlock, because the processes wait for each other. Errors in
    ``known`` are reported in one line with exit code ``USELESS``, because they would recur. Use
    it as a context manager.
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
                f"error: {who} lost another ({str(error).splitlines()[0]}); rerun the same "
                "command on all hosts to continue from the last checkpoint"
            )
            code = AGAIN
        else:
            text, code = "".join(traceback.format_exception(error)) + who, 1
        print(text, file=sys.stderr, flush=True)
        if is_first():  # JAX aborts the others when it exits: let them report first
            time.sleep(GRACE)
        os._exit(code)


def _distributed() -> bool:
    return jax.distributed.is_initialized()
