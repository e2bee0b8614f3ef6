"""Where the weights of pretrained networks come from, and that they are the right ones.

In this order: a path given by the caller or an environment variable, the cache folder, an
installed Python package that ships the file, the official download. Whatever its origin, a file
is used only if its SHA-256 is the expected one. A file with another digest is an error and is never
skipped silently.
"""

import bz2
import hashlib
import http.client
import importlib.util
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ganimation_jax.files import caches

CACHE_VARIABLE = "GANIMATION_JAX_CACHE"
LARGEST = 1 << 30  # bytes of a download, packed or unpacked
SILENCE = 60  # seconds without a byte after which a download has failed
PIECE = 1 << 20


class Asset(NamedTuple):
    """A file of weights."""

    name: str  # what messages call it; GANIMATION_JAX_<NAME> may hold its path
    file: str  # its name in the cache folder
    sha256: str
    get: str  # how to get it: one sentence, for messages
    package: str = ""  # an importable package that ships it ...
    member: str = ""  # ... at this path inside
    url: str = ""  # official download; a .bz2 is unpacked

    @property
    def variable(self) -> str:
        """The environment variable that may name the file."""
        return f"GANIMATION_JAX_{self.name.upper()}"

    @property
    def remedies(self) -> str:
        """What a user can do to get it."""
        return (
            f"{self.get}; or put {self.file} into {cache_folder()}; "
            f"or set {self.variable} to its path"
        )


def cache_folder() -> Path:
    """Where downloads go, and where a user may put files.

    Without a cache that can be written it is a folder of this user among temporary files.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(os.path.expanduser(named))
    temporary = Path(tempfile.gettempdir(), f"ganimation_jax-weights-{os.getuid()}")
    return caches.writable_cache_folder("weights") or temporary


def locate(asset: Asset, path: Path | str | None = None) -> Path:
    """The asset's file, its SHA-256 checked.

    Args:
      asset: what is wanted.
      path: an explicit place; nothing else is tried then.

    Raises:
      FileNotFoundError: it was not found; the message says how to get it.
      ValueError: a file was found, but it is damaged or another version.
    """
    named = path or os.environ.get(asset.variable)
    if named:
        return _checked(asset, Path(os.path.expanduser(named)), "name another file")
    cached = cache_folder() / asset.file
    if cached.is_file():
        return _checked(asset, cached, "delete it and try again")
    packaged = _in_package(asset)
    if packaged is not None and packaged.is_file():
        return _checked(asset, packaged, f"install the right version: {asset.remedies}")
    if asset.url:
        return _download(asset, cached)
    raise FileNotFoundError(f"no weights for {asset.name}. {asset.remedies}")


def _in_package(asset: Asset) -> Path | None:
    # find_spec does not import: some packages that ship weights would pull in much else.
    spec = importlib.util.find_spec(asset.package) if asset.package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / asset.member


def _checked(asset: Asset, path: Path, fix: str, origin: str = "") -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"weights for {asset.name}: {path} does not exist")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != asset.sha256:
        raise ValueError(
            f"weights for {asset.name}: {origin or path} is damaged or another version "
            f"(SHA-256 {found}, expected {asset.sha256}); {fix}"
        )
    return path


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Refuses to be sent on from https to anything else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise OSError(f"it leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(asset: Asset, target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, renamed when whole and checked: a file in the cache is a good file.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
            partial = Path(scratch) / asset.file
            opener = urllib.request.build_opener(_OnlyHttps)
            with opener.open(asset.url, timeout=SILENCE) as source, partial.open("wb") as sink:
                size = int(source.headers.get("Content-Length") or 0)
                known = f"{size / 1e6:.1f} MB" if size else "of unknown size"
                print(
                    f"downloading weights for {asset.name}, {known}, from {asset.url}",
                    file=sys.stderr,
                )
                _check_size(size)
                _copy(bz2.BZ2File(source) if asset.url.endswith(".bz2") else source, sink)
            return _checked(asset, partial, "try again", origin=asset.url).replace(target)
    except (OSError, EOFError, http.client.HTTPException) as error:  # urllib's are OSErrors
        raise FileNotFoundError(
            f"no weights for {asset.name}: cannot download {asset.url} ({error}). {asset.remedies}"
        ) from error


def _copy(source: BinaryIO | bz2.BZ2File, sink: BinaryIO) -> None:
    while piece := source.read(PIECE):
        sink.write(piece)
        _check_size(sink.tell())


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise OSError(f"it is larger than {LARGEST / 1e9:.1f} GB")
