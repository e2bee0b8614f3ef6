"""Action units from a pickle: nothing in it is called, and its rows are checked."""

import os
import pickle

import numpy as np
import pytest
from prepare_folders import (
    intensities,
    make_input,
    prepare,
    reasons,
    records,
)

from ganimation_jax.prepare.aus_pickle import read_aus_pickle
from ganimation_jax.prepare.problems import UsageError


class Malice:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_calls_something_is_refused(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "aus.pkl"
    path.write_bytes(pickle.dumps({"a": Malice()}, protocol=protocol))
    with pytest.raises(UsageError, match=r"posix\.system"):
        read_aus_pickle(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "numpy.f2py crackfortran"])
def test_pickle_allows_nothing_beside_arrays(tmp_path, name):
    module, function = name.split()
    path = tmp_path / "aus.pkl"
    path.write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(UsageError, match=f"{module}.{function}"):
        read_aus_pickle(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x02}q\x00(U\x12N", pickle.dumps([1]), pickle.dumps({1: 2})]
)
def test_pickle_damaged_or_of_something_else(tmp_path, content):
    path = tmp_path / "aus.pkl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"aus\.pkl"):
        read_aus_pickle(path)


def test_pickle_written_by_this_python(tmp_path):
    path = tmp_path / "aus.pkl"
    path.write_bytes(pickle.dumps({"a": intensities(0)}, protocol=4))
    assert read_aus_pickle(path)["a"].aus == tuple(intensities(0))


def test_pickle_rows_are_checked(tmp_path):
    make_input(tmp_path, count=5)
    labels = {f"{number:03d}": intensities(number) for number in range(5)}
    labels["001"] = labels["001"][:16]
    labels["002"] = np.full(17, np.nan)
    labels["003"] = np.full(17, 5.5)
    labels["lonely"] = intensities(0)
    (tmp_path / "aus.pkl").write_bytes(pickle.dumps(labels))
    assert prepare(tmp_path, labels=("--pkl", "aus.pkl")) == 0
    assert sorted(records(tmp_path / "out")) == ["000", "004"]
    assert {name.split(":")[1]: reason for name, reason in reasons(tmp_path).items()} == {
        "001": "not 17 action units",
        "002": "intensity outside 0-5",
        "003": "intensity outside 0-5",
        "lonely": "annotation without picture",
    }
