"""Train or evaluate: ``python -m ganimation_jax.main --config=FILE[:PRESET] --workdir=RUN``.

Fields of the config are overridden with ``--config.field=value``. Running a training command
again continues it. Exit codes: 0 finished, 75 asked to stop and saved (run it again), 2 an error
that running it again will not mend.

On many hosts run the same command on each, with a workdir and data that they share: clusters
that JAX knows are joined by themselves, others by --coordinator, --processes and --process.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import absl.logging
from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "config file, with :preset if it has any", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; made if absent")
DISTRIBUTED = flags.DEFINE_enum(
    "distributed", "auto", ["auto", "on", "off"], "train: join other processes: if there are any"
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "train: HOST:PORT of process 0")
PROCESSES = flags.DEFINE_integer("processes", None, "train: how many processes there are")
PROCESS = flags.DEFINE_integer("process", None, "train: which of them this is, from 0")
PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout", 60, "train: seconds after which a silent process is taken for dead"
)
BAD_INPUT = (ValueError, OSError, FloatingPointError)
COMPILATION_CACHE = Path.home() / ".cache" / "ganimation_jax" / "xla"
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "what to do")
MODEL = flags.DEFINE_string(
    "model", "", "eval: a model's name or file, in place of the run in WORKDIR"
)
OPENFACE = flags.DEFINE_string("openface", None, "eval: OpenFace's FaceLandmarkImg, as a judge")
OPENFACE_CSV = flags.DEFINE_string(
    "openface_csv", None, "eval: folder with OpenFace's CSV files of WORKDIR/edits"
)
WRITE_EDITS = flags.DEFINE_bool("write_edits", False, "eval: write the edits to WORKDIR/edits")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the flags and run; bad input ends in one line on stderr and exit code 2."""
    words = sys.argv[1:] if argv is None else argv
    app.run(run, argv=["ganimation", *words])


def run(argv: list[str]) -> None:
    """Dispatch on ``--mode``."""
    if len(argv) > 1:
        _refuse(f"unexpected arguments {argv[1:]}: write flags as --name=value")
    if CONFIG.value is None or WORKDIR.value is None:
        _refuse("give --config=configs/NAME.py and --workdir=DIR")
    import jax  # after the flags, so that --help is quick

    from ganimation_jax.evaluation import command
    from ganimation_jax.parallel import processes
    from ganimation_jax.training import loop

    # Of other libraries only warnings: Orbax tells of every file it writes.
    absl.logging.set_verbosity(absl.logging.WARNING)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(COMPILATION_CACHE))

    # A sweep names the folder of a run by a variable, which W&B's agent leaves as it is.
    workdir = Path(os.path.expandvars(WORKDIR.value))
    try:
        if MODE.value == "train":
            processes.start(
                DISTRIBUTED.value,
                coordinator=COORDINATOR.value,
                processes=PROCESSES.value,
                process=PROCESS.value,
                peer_timeout=PEER_TIMEOUT.value,
            )
            _show_progress(processes.is_first())
            with processes.LeaveAtOnce(*BAD_INPUT):
                finished = loop.train(CONFIG.value, workdir)
            if not finished:
                raise SystemExit(processes.AGAIN)
        else:
            _show_progress()
            lines = command.evaluate(
                CONFIG.value,
                workdir,
                model=MODEL.value,
                openface=Path(OPENFACE.value) if OPENFACE.value else None,
                openface_csvs=Path(OPENFACE_CSV.value) if OPENFACE_CSV.value else None,
                write_edits=WRITE_EDITS.value,
            )
            print("\n".join(lines))
    except BAD_INPUT as error:
        _refuse(str(error))


def _show_progress(all_of_it: bool = True) -> None:
    logger = logging.getLogger("ganimation_jax")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if all_of_it else logging.WARNING)
    logger.propagate = False


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
