"""What a killed server of the web page leaves."""

import shutil
import signal
import subprocess
import sys

from ganimation_jax.web import folder as folders

HOLD = """
import sys, time
from pathlib import Path
from ganimation_jax.web.folder import server_folder
with server_folder(Path(sys.argv[1])) as folder:
    (folder / "photo.png").write_bytes(bytes(9))
    print(folder, flush=True)
    time.sleep(60)
"""


def test_photos_of_a_killed_server_are_removed_by_the_next_start(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        folder = folders.Path(process.stdout.readline().strip())
        assert folder.stat().st_mode & 0o077 == 0
        with folders.server_folder(tmp_path) as ours:  # it still runs: its folder stays
            assert (folder / "photo.png").exists()
        assert not ours.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / "photo.png").exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.png").touch()
    (tmp_path / f"{folders.PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{folders.PREFIX}file").touch()
    with folders.server_folder(tmp_path):
        assert not folder.exists()
        assert (elsewhere / "mine.png").exists()
    shutil.rmtree(elsewhere)
