"""Keep MediaPipe from reporting its use."""

import os
import urllib.request

# MediaPipe 1.2 reports its use to play.googleapis.com and has no switch for that. Through a
# proxy that does not exist it cannot.
NOWHERE = "http://127.0.0.1:9"
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")


def block_reports() -> None:
    """Let no native code of this process reach an https address. For programs, not libraries.

    Call it before MediaPipe starts, and after what the program itself has to download.
    Downloads by ``urllib`` still use the proxies that the user has set.
    """
    urllib.request.install_opener(urllib.request.build_opener())  # with the proxies of now
    for name in EXCEPTIONS:
        os.environ.pop(name, None)
    os.environ |= dict.fromkeys(PROXIES, NOWHERE)
