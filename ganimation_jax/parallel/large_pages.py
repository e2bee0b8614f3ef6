"""Large memory pages, which make training on a CPU faster, without the user having to ask."""

import os
import sys
from pathlib import Path

VARIABLE, VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
SINCE = (2, 35)  # version of glibc
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_large_pages() -> None:
    """Replace this program by itself with GLIBC_TUNABLES set, which glibc reads as it starts.

    To be called first of all, by a program that owns the process. Returns where it would not help:
    outside Linux, with another C library, or where the variable is set, as it is the second time.
    """
    if sys.platform != "linux" or VARIABLE in os.environ or not _helps():
        return
    # The same process, with the same arguments and options of Python.
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {VARIABLE: VALUE})


def _helps() -> bool:
    try:
        library, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        number = tuple(int(part) for part in version.split("."))
        return library == "glibc" and number >= SINCE and "[never]" not in KERNEL.read_text()
    except (OSError, ValueError):
        return False
