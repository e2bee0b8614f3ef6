"""Pickles: what honest people write is read, and a hostile one can do nothing."""

import ast
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from ganimation_jax.files import pickles

CASES = Path(__file__).parents[2] / "shared" / "cases"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def dumped(path, value, protocol=pickle.DEFAULT_PROTOCOL):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_comes_back_as_python_reads_it(tmp_path, protocol):
    shared = [1.5, -2, None, True]
    value = {
        "list": shared,
        "again": shared,
        b"bytes": b"\x00\xff\n'\"",
        7: (), 8: (1,), 9: (1, 2), 10: (1, 2, 3), 11: (1, 2, 3, 4),
        -5: "text é\n長 \\d", 2**40: 2**63 - 1, -(2**40): -(2**63), 1.25: float("inf"),
        None: b"", "dict": {"a": {"b": {}}}, "ordered": OrderedDict(a=1, b=[2]),
        "long": "x" * 70_000, "many": list(range(3000)),
    }  # fmt: skip
    found = pickles.read(dumped(tmp_path / "a.pkl", value, protocol))
    assert found == value
    assert found["list"] is found["again"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", ["f2", "<f4", ">f4", "f8", ">f8", "i1", "u2", ">i4", "u8", "?"])
def test_arrays_of_every_kind_of_number(tmp_path, protocol, code):
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 2 if code == "?" else 100, 24).astype(code)
    arrays = {
        "flat": flat, "cube": flat.reshape(2, 3, 4), "fortran": flat[:6].reshape(3, 2).T,
        "strided": flat[::2], "scalar": flat[3], "none": flat[:0], "point": flat[:1].reshape(()),
    }  # fmt: skip
    found = pickles.read(dumped(tmp_path / "a.pkl", arrays | {"same": arrays["flat"]}, protocol))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    for name in set(arrays) - {"scalar"}:
        assert found[name].dtype == arrays[name].dtype
    assert found["same"] is found["flat"]


def test_strings_of_python_2(tmp_path):
    """Bytes above 127, in the text protocol and in the binary one."""
    for content in (b"(dp0\nS'a\\xe9'\np1\nS'\\x00\\xff'\np2\ns.", b"}U\x02a\xe9U\x02\x00\xffs."):
        (tmp_path / "a.pkl").write_bytes(content)
        assert pickles.read(tmp_path / "a.pkl") == {"a\xe9": "\x00\xff"}


@pytest.mark.skipif(not CASES.exists(), reason=f"no inputs of reported faults at {CASES}")
def test_reported_pickles_of_every_protocol():
    for protocol in range(6):
        found = pickles.read(CASES / f"20_hostile_files/p{protocol}.pkl")
        assert sorted(found) == ["good_a", "good_b"]
        for array in found.values():
            np.testing.assert_array_equal(array, np.ones(17))


HEAD = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
F8 = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
BIG = str(2**62).encode()


def array_of(dtype=F8, shape=b"(I1\nt", data=b"S'AAAAAAAA'\n", fortran=b"I0\n"):
    return HEAD + b"(I1\n" + shape + dtype + fortran + data + b"tb."


def dtype_of(code=b"S'f8'\n", state=b"(I3\nS'<'\nNNNI-1\nI-1\nI0\nt"):
    return b"cnumpy\ndtype\n(" + code + b"I0\nI1\ntR" + state + b"b"


def nested(depth):
    """A tuple of two tuples of two tuples ...: few bytes, whose hash takes for ever."""
    return b")q\x000" + b"h\x00h\x00\x86q\x000" * depth + b"h\x00"


HOSTILE = {
    "objects": (array_of(dtype_of(b"S'O8'\n")), "'O8'"),
    "objects by state": (array_of(dtype_of(state=b"(I3\nS'|'\nNNNI8\nI8\nI63\nt")), "ok"),
    "structure": (array_of(dtype_of(b"S'V8'\n")), "'V8'"),
    "fields": (array_of(dtype_of(state=b"(I3\nS'|'\nN(S'a'\nt}I8\nI1\nI0\nt")), "another type"),
    "subarray": (array_of(dtype_of(state=b"(I3\nS'|'\n(I0\nI1\ntNNI8\nI1\nI0\nt")), "another type"),
    "dtype of a dtype": (array_of(dtype_of(F8)), "not of plain numbers"),
    "comma dtype": (array_of(dtype_of(b"S'f8,O'\n")), "'f8,O'"),
    "text": (array_of(dtype_of(b"S'U2'\n")), "'U2'"),
    "too long": (array_of(shape=b"(I" + BIG + b"\nt"), "in 8 bytes"),
    "overflow": (array_of(shape=b"(I" + BIG + b"\nI" + BIG + b"\nI4\nt"), "in 8 bytes"),
    "zero and huge": (array_of(shape=b"(I0\nI" + BIG + b"\nI" + BIG + b"\nt", data=b"S''\n"), ""),
    "negative": (array_of(shape=b"(I-1\nt"), "no proper shape"),
    "axes": (array_of(shape=b"(" + b"I1\n" * 99 + b"t"), "no proper shape"),
    "no shape": (array_of(shape=b"N"), "no proper shape"),
    "list of objects": (array_of(data=b"(lI1\na"), "not made of bytes"),
    "no dtype": (array_of(dtype=b"N"), "not made of bytes"),
    "array as dtype": (array_of(dtype=HEAD), "not made of bytes"),
    "subclass": (array_of().replace(b"cnumpy\nndarray\n", b"N"), "other than numpy.ndarray"),
    "memo": (b"]r\xff\xff\xff\x7f.", "ok"),
    "text memo": (b"]p" + BIG + b"\n.", "ok"),
    "unknown memo": (b"j\xff\xff\xff\x7f.", "cannot read"),
    "frame": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f].", "cut off"),
    "bytes": (b"\x8e" + (10**12).to_bytes(8, "little") + b"x.", "cut off"),
    "text8": (b"\x8d" + (10**12).to_bytes(8, "little") + b"x.", "cut off"),
    "bytearray": (b"\x96" + (10**12).to_bytes(8, "little") + b"x.", "cut off"),
    "bytes4": (b"B\xff\xff\xff\xffx.", "cut off"),
    "number": (b"\x8b\x00\x01\x00\x00" + b"\x7f" * 256 + b".", "more than 128 bits"),
    "digits": (b"I" + b"9" * 100_000 + b"\n.", "cannot read"),
    "depth": (b"]" + b"(" * 5_000 + b"t" * 5_000 + b".", "deeply nested"),
    "hash": (b"}" + nested(80) + b"Ns.", "keys of type tuple"),
    "hash in ordered": (b"ccollections\nOrderedDict\n(]" + nested(80) + b"N\x86atR.", "keys of"),
    "copies": (
        b"(X\x00\x00\x01\x00" + b"x" * 65_536 + b"q\x000"
        + b"c_codecs\nencode\n(h\x00S'latin1'\ntR" * 60_000 + b"l.",
        "makes more data",
    ),
    "pairs": (
        b"(](" + b"U\x01aN\x86" * 9_999 + b"eq\x000"
        + b"ccollections\nOrderedDict\nh\x00\x85R" * 9_999 + b"l.",
        "makes more data",
    ),
    "codec": (b"c_codecs\nencode\nS'x'\nS'zlib'\n\x86R.", "encoding 'zlib'"),
    "persistent": (b"Px\n.", "instruction b'P'"),
    "extension": (b"\x82\x01.", "instruction"),
    "instance": (b"(ios\nsystem\n.", "instruction b'i'"),
    "buffer": (b"\x80\x05\x97.", "instruction"),
    "newobj": (b"cnumpy\nndarray\n)\x81.", "instruction"),
    "attribute": (b"\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "numpy.ndarray.__init__"),
    "build a list": (b"](NI0\ntb.", "other than NumPy arrays"),
    "build a function": (b"cnumpy\ndtype\n}S'call'\nI1\nsb.", "other than NumPy arrays"),
    "call a list": (b"])R.", "no function"),
    "append to a dict": (b"}I1\na.", "no list"),
    "items of an array": (array_of()[:-1] + b"I0\nI1\ns.", "no dictionary"),
    "half a pair": (b"}(I1\nu.", "cannot read"),
    "empty": (b"", "cannot read"),
    "cut": (pickle.dumps({"a": np.ones(17)})[:-30], "cannot read"),
    "stop": (b".", "cannot read"),
    "marks": (b"(" * 20_000, "deeply nested"),
    "pops": (b"0" * 9, "cannot read"),
}  # fmt: skip


def test_hostile_files_are_one_sentence_each_in_little_memory_and_time(tmp_path):
    """In a process of its own, because what fails here may take the process with it."""
    for name, (content, _) in HOSTILE.items():
        (tmp_path / f"{name}.pkl").write_bytes(content)
    paths = [tmp_path / f"{name}.pkl" for name in HOSTILE]
    os.mkfifo(tmp_path / "pipe.pkl")
    paths += [tmp_path / "pipe.pkl", tmp_path / "gone.pkl", tmp_path]
    if CASES.exists():
        paths += [CASES / "20_hostile_files/crash.pkl", CASES / "20_hostile_files/crash2.pkl"]
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from ganimation_jax.files import pickles\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (30, 30))\n"
        "for path in sys.argv[1:]:\n"
        "    try: pickles.read(Path(path)); said = 'ok'\n"
        "    except ValueError as error: said = str(error)\n"
        "    print(repr(said))\n"
        "status = Path('/proc/self/status').read_text().split()\n"
        "peak = int(status[status.index('VmHWM:') + 1]); assert peak < 200_000, peak\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = dict(
        zip(
            [path.stem for path in paths],
            map(ast.literal_eval, done.stdout.splitlines()),
            strict=True,
        )
    )
    for name, (_, expected) in HOSTILE.items():
        assert expected in said[name], (name, said[name])
        assert len(said[name]) < 250
    assert "no regular file" in said["pipe"]
    assert "does not exist" in said["gone"]


def test_no_array_of_numpy_is_built_by_the_file(tmp_path, monkeypatch):
    """Whatever the file says of its arrays, NumPy gets bytes and a plain type only."""
    seen = []
    real = np.frombuffer
    monkeypatch.setattr(
        np, "frombuffer", lambda data, dtype: seen.append(dtype) or real(data, dtype)
    )
    value = {"a": np.ones((2, 3), np.float32), "b": np.int16(3)}
    pickles.read(dumped(tmp_path / "a.pkl", value, 2))
    assert [dtype.str for dtype in seen] == ["<f4", "<i2"]
