"""Work that kills its process; apart, so that processes that import it start fast."""

import os
import signal


def squared_unless_deadly(item):
    """Item 13 kills always, item 7 the first time only, as lack of memory does."""
    number, folder = item
    if number == 13 or (number == 7 and not (folder / "seven").exists()):
        (folder / "seven").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
