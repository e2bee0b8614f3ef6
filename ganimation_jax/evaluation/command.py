"""``--mode=eval``: measure a run's newest checkpoint, or another model, and write the report."""

import datetime
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.data.pipeline import build_source, held_out_batches
from ganimation_jax.evaluation import held_out, judges, suite
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.report import write_report
from ganimation_jax.evaluation.results import Result
from ganimation_jax.features import inception
from ganimation_jax.files import json_lines
from ganimation_jax.interop.torch_files import read_state_dict, require_torch
from ganimation_jax.reports import samples
from ganimation_jax.runs.load import Run, load_run
from ganimation_jax.types import to_uint8
from ganimation_jax.version import __version__

log = logging.getLogger(__name__)

EDITS = "edits"  # folder of the run, for OpenFace to read
SHOWN_FACES = 4


def evaluate(
    cfg: ConfigDict,
    workdir: Path,
    *,
    model: str = "",
    openface: Path | None = None,
    openface_csvs: Path | None = None,
    write_edits: bool = False,
) -> list[str]:
    """Measure on held-out faces; writes ``report/index.html`` and ``report/report.json``.

    Of ``cfg`` only the data and ``evaluate`` matter.

    Args:
      cfg: the run's, or that of other data to measure it on.
      workdir: of the run; for the report.
      model: what to measure, as ``load_run`` takes it, if not the run in ``workdir``.
      openface: OpenFace's FaceLandmarkImg, to judge the edits.
      openface_csvs: or what it wrote when the user ran it over ``edits/``.
      write_edits: write the edits there, as PNG files.

    Returns:
      The headlines, a line each, and where the report is.

    Raises:
      FileNotFoundError: there is no checkpoint, no data, or no OpenFace where it should be.
      ValueError: the data lack an action unit of the run, or OpenFace cannot be used.
    """
    run = load_run(model or workdir)
    cfg = cfg.copy_and_resolve_references()
    cfg.image_size, cfg.action_units = run.image_size, run.names
    faces = build_source(cfg, "test")
    nets = jax.device_put(run.used)
    edit = functools.partial(jax.jit(run.model.edit), nets)
    read_aus = None if run.model.read is None else functools.partial(jax.jit(run.model.read), nets)

    seen = held_out.look(held_out_batches(cfg, faces), edit, read_aus)
    if write_edits:
        judges.write_images(workdir / EDITS, seen.edited)
        log.info("%d edits in %s", len(seen.edited), workdir / EDITS)
    subject = suite.Subject(seen, faces, run.names, edit, read_aus)
    left, right = (tuple(point) for point in cfg.data.eyes)
    tools = suite.Instruments(
        load_inception,
        openface,
        openface_csvs,
        eyes=(left, right),
        controlled_faces=cfg.evaluate.controlled_faces,
    )
    sections, responses = suite.run(subject, tools)
    name = Path(model or workdir.resolve()).name
    facts = facts_of(run, cfg, name, len(seen.image))
    result = Result(facts, run.config, run.names, sections, responses)

    images = np.asarray(to_uint8(jnp.asarray(seen.image[:SHOWN_FACES])))
    pictures = {
        "Expressions": samples.expressions(
            edit, images, seen.aus[:SHOWN_FACES], run.model.conditions
        ),
        "Each action unit alone": samples.single_conditions(
            edit, images[0], seen.aus[0], run.model.conditions
        ),
    }
    history = json_lines.read(workdir / "metrics.jsonl", json_lines.numbers_only, "images")
    page = write_report(workdir, result, pictures, history)
    lines = [f"{one.score.value:10.4f}  {one.title}: {one.reading}" for one in headlines(result)]
    return [*lines, f"report: {page}"]


def load_inception() -> Callable[[jax.Array], jax.Array]:
    """Features for FID.

    Raises:
      ImportError: torch is not installed, which is said before 95 MB are downloaded.
      FileNotFoundError: the weights cannot be had.
    """
    require_torch()
    return inception.load(read_state_dict)


def facts_of(run: Run, cfg: ConfigDict, name: str, examples: int) -> dict[str, Any]:
    """What was evaluated on what, for the head of the report."""
    data = cfg.data.source if cfg.data.source == "synthetic" else Path(cfg.data.dir).name
    return {
        "run": name,
        "step": run.step,
        "image_size": run.image_size,
        "data": data,
        "examples": examples,
        "date": datetime.date.today().isoformat(),
        "device": jax.devices()[0].device_kind,
        "ganimation_jax": __version__,
        "jax": jax.__version__,
    }
