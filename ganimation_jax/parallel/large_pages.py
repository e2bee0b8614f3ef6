"""Turn on large memory pages automatically, which makes training on a CPU faster."""

import os
import sys
from pathlib import Path

VARIABLE, VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
SINCE = (2, 35)  # version of glibc
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_large_pages() -> None:
    """Restart this program with GLIBC_TUNABLES set, because glibc reads it only at start.

    Call this first, in a program that owns the process. It returns without a restart where large
    pages would not help: outside Linux, with another C library, or if the variable is already set,
    as it is after the restart.
    """
    if sys.platform != "linux" or VARIABLE in os.environ or not _helps():
        return
    # Keeps the process id, the arguments and the options of Python.
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {VARIABLE: VALUE})


def _helps() -> bool:
    try:
        library, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        number = tuple(int(part) for part in version.split("."))
        return library == "glibc" and number >= SINCE and "[never]" not in KERNEL.read_text()
    except (OSError, ValueError):
        return False
