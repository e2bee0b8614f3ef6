"""Files that appear only when they are complete."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that appears only when it is complete, or is left as it was.

    Other processes and threads may write the same path at the same time: the last one wins.

    Args:
      path: of the file; its folder exists.
      content: text is written as UTF-8.

    Raises:
      OSError: it cannot be written; names ``path`` even if the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    # Not derived from the file's name, which may be as long as names can be.
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:  # a full disk names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
