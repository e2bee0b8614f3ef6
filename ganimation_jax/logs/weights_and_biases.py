"""Weights & Biases, which never holds up training: without network or service it is left out.

Its own error reports, which it sends to another host, are off unless WANDB_ERROR_REPORTING is set.
"""

import logging
import os
import re
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.logs.alerts import Alert

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
OLD_MODES = {"dryrun": "offline", "run": "online"}  # W&B's former names
LOOK = 4.0  # seconds in which W&B's server must answer
INIT = 20.0  # seconds in which an online run must have begun
FINISH = 60.0  # seconds that a finished run may still send; the rest stays on disk
FOLDERS = ("WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR")
RUN_ID = re.compile(r"[\w-]{1,64}")


def mode_of(asked: str) -> str:
    """The mode to use: "online", "offline" or "disabled".

    Args:
      asked: of ``config.wandb.mode``. "auto" takes WANDB_MODE; if that is not set, "online" where
        WANDB_API_KEY is set, else "offline".

    Raises:
      ValueError: there is no such mode.
    """
    if asked not in MODES:
        raise ValueError(f"wandb.mode {asked!r} is not one of {', '.join(MODES)}")
    if asked != "auto":
        return asked
    if said := os.environ.get("WANDB_MODE", "").strip().lower():
        mode = OLD_MODES.get(said, said)
        if mode not in MODES[1:]:
            raise ValueError(f"WANDB_MODE={said} is not one of {', '.join(MODES[1:])}")
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


class WandbSink:
    """Sends records, media and alerts of one run to W&B, or keeps them for ``wandb sync``.

    Args:
      workdir: of the run. Its id is kept in ``wandb_id.txt``: a resumed run is the same run in
        W&B, which keeps what it has already of records that are made again.
      config: stored with the run.
      mode: see ``mode_of``. Without network an online run becomes an offline one.
      project, group, name, tags: of W&B; empty: its default.
      artifacts: whether ``artifact`` sends anything.
    """

    def __init__(
        self,
        workdir: Path,
        config: Mapping[str, Any],
        *,
        mode: str,
        project: str = "",
        group: str = "",
        name: str = "",
        tags: Sequence[str] = (),
        artifacts: bool = False,
    ):
        self._run: Any = None
        self._artifacts = artifacts
        mode = mode_of(mode)
        if mode == "disabled":
            return
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        _settle_in(workdir / "wandb")
        import wandb

        self._failures = _failures()

        def begin(mode: str) -> Any:
            return wandb.init(
                mode=cast(Literal["online", "offline"], mode),
                dir=workdir,
                config=dict(config),
                project=project or None,
                group=group or None,
                name=name or None,
                tags=list(tags) or None,
                id=_run_id(workdir / "wandb_id.txt"),
                resume="allow" if mode == "online" else None,  # offline each attempt is a folder
                settings=wandb.Settings(init_timeout=INIT, finish_timeout=FINISH),
            )

        if mode == "online" and not _answers(wandb.setup().settings.base_url):
            log.warning(
                "W&B's server does not answer: logging offline; 'wandb sync %s' sends it later",
                workdir / "wandb" / "offline-run-*",
            )
            mode = "offline"
        try:
            self._run = begin(mode)
        except self._failures as error:
            if mode == "online":
                log.warning("W&B failed (%s): logging offline", _first_line(error))
                self._run = self._tried(lambda: begin("offline"))
            else:
                self._give_up(error)

    def metrics(self, images: int, values: Mapping[str, Any]) -> None:
        """Record values, at ``images`` images."""
        if self._run:
            self._tried(lambda: self._log(images, dict(values)))

    def alert(self, alert: Alert) -> None:
        """Send an alert."""
        if self._run:
            title = alert.name if alert.began else f"{alert.name}: recovered"
            level = "WARN" if alert.began else "INFO"
            self._tried(lambda: self._run.alert(title, alert.message, level=level))

    def media(self, images: int, name: str, path: Path) -> None:
        """Send a picture, or a GIF as a video."""
        if self._run:
            import wandb

            def send() -> None:
                video = path.suffix == ".gif"
                media = wandb.Video(str(path), format="gif") if video else wandb.Image(str(path))
                self._log(images, {name: media})

            self._tried(send)

    def artifact(self, folder: Path, step: int) -> None:
        """Send a checkpoint, if ``artifacts`` says so; it must be complete."""
        if self._run and self._artifacts:
            import wandb

            def send() -> None:
                checkpoint = wandb.Artifact(f"checkpoint-{self._run.id}", type="checkpoint")
                checkpoint.add_dir(str(folder))
                self._run.log_artifact(checkpoint, aliases=["latest", f"step-{step}"])

            self._tried(send)

    def close(self) -> None:
        """Finish the run, within a minute."""
        if self._run:
            self._tried(self._run.finish)

    def _log(self, images: int, values: dict[str, Any]) -> None:
        # A resumed run in W&B is ahead at first: it has these records, and refuses them.
        if images >= self._run.step:
            self._run.log(values, step=images)

    def _tried(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except self._failures as error:
            self._give_up(error)
            return None

    def _give_up(self, error: BaseException) -> None:
        log.warning("W&B failed (%s): training continues without it", _first_line(error))
        self._run = None


def _settle_in(folder: Path) -> None:
    """Give W&B's own files a place where the user has no home: it would not begin without."""
    try:
        Path.home()
    except RuntimeError:
        for name in FOLDERS:
            os.environ.setdefault(name, str(folder))


def _failures() -> tuple[type[Exception], ...]:
    """What W&B raises; some of its exceptions have no base class of its own."""
    import wandb
    from wandb.sdk.lib.service import service_connection, service_token
    from wandb.sdk.mailbox import MailboxClosedError, mailbox_handle

    return (
        wandb.Error,
        mailbox_handle.HandleAbandonedError,
        MailboxClosedError,
        mailbox_handle.ServerResponseError,
        service_connection.WandbApiFailedError,
        service_connection.WandbAttachFailedError,
        service_token.WandbServiceConnectionError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    )


def _answers(address: str) -> bool:
    """Whether anything answers at an address, through the proxy of the environment if any."""
    answered = []

    def look() -> None:
        try:
            urllib.request.urlopen(address, timeout=LOOK).close()
            answered.append(True)
        except urllib.error.HTTPError:
            answered.append(True)  # a server
        except (OSError, ValueError) as error:
            log.debug("%s: %s", address, error)

    # In a thread, because looking up a name may take longer than any timeout.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LOOK)
    return bool(answered)


def _run_id(kept: Path) -> str:
    # An agent of a sweep says which run it expects.
    known = os.environ.get("WANDB_RUN_ID") or ""
    if not known and kept.exists():
        known = kept.read_text(errors="replace").strip()
        if not RUN_ID.fullmatch(known):
            log.warning("%s holds no id of a W&B run (%.20r): a new run begins there", kept, known)
            known = ""
    run_id = known or uuid.uuid4().hex[:8]
    write_atomically(kept, run_id + "\n")
    return run_id


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
