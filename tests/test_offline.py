"""Commands keep MediaPipe from reporting its use, whatever the user's proxies are."""

import subprocess
import sys

from helpers import ROOT


def test_nothing_passes_the_proxy_that_does_not_exist():
    code = (
        "import os, urllib.request\n"
        "os.environ |= {'no_proxy': '*', 'NO_PROXY': '*', 'https_proxy': 'http://user.example:1'}\n"
        "from ganimation_jax.faces.offline import NOWHERE, block_reports\n"
        "block_reports()\n"
        "assert urllib.request.getproxies()['https'] == NOWHERE\n"
        "assert not urllib.request.proxy_bypass('play.googleapis.com')\n"
        # Downloads of this library still go where the user says.
        "opener = urllib.request._opener\n"
        "(proxy,) = [h for h in opener.handlers if isinstance(h, urllib.request.ProxyHandler)]\n"
        "assert proxy.proxies['https'] == 'http://user.example:1'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
