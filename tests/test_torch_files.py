"""PyTorch's files are read as torch reads them, and nothing in them is run."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from ganimation_jax.interop import torch_import
from ganimation_jax.interop.torch_files import read_state_dict


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[torch]'")


def refused(capsys, *args):
    assert torch_import.main([str(arg) for arg in args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("form", ["zip", "pickle", "inside"])
def test_a_pickle_that_would_run_code_is_refused(torch, tmp_path, capsys, form):
    path, proof = tmp_path / "G.pth", tmp_path / "ran"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(proof)))
    elif form == "zip":
        torch.save(Malicious(proof), path)
    else:
        torch.save({"main.0.weight": torch.zeros(3), "extra": Malicious(proof)}, path)
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert "refused" in error
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"hello", None])
def test_files_that_are_no_checkpoints(tmp_path, capsys, content):
    path = tmp_path / "G.pth"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refused(capsys, "--generator", path, "--out", tmp_path / "run")


@pytest.mark.parametrize("value", [[1, 2], {}, {"epoch": 3, "state_dict": {}}])
def test_pytorch_files_that_are_no_state_dicts(torch, tmp_path, capsys, value):
    torch.save(value, tmp_path / "G.pth")
    error = refused(capsys, "--generator", tmp_path / "G.pth", "--out", tmp_path / "run")
    assert "state dict" in error


def random_state(torch, dtype=None):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (3, 4, 2, 2), "a.bias": (3,), "b.weight": (2, 3), "b.none": (0, 2)}
    return {
        name: torch.randn(shape, generator=generator).to(dtype or torch.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16", "int64"])
def test_state_dicts_are_read_as_torch_reads_them(torch, tmp_path, zipped, kind):
    state = random_state(torch, getattr(torch, kind))
    state["tied"] = state["a.weight"]
    state["view"] = state["b.weight"].t()[1:]
    state["scalar"] = torch.tensor(3)
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state |= network.state_dict()
    path = tmp_path / "G.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(path)
    want = torch.load(path, weights_only=True)
    assert found.keys() == want.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, want[name].detach().float().numpy())
        assert array.dtype == np.float32
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert found["0.weight"].tobytes() == read_state_dict(path)["0.weight"].tobytes()


def odd_state(torch, name):
    state = random_state(torch)
    if name == "nan":
        state["b.weight"][1, 1] = torch.nan
    elif name == "infinite":
        state["b.weight"][0, 2] = -torch.inf
    elif name == "flipped":
        state["b.weight"][0, 0] = 3e38
    elif name == "int key":
        state[5] = torch.ones(2)
    elif name == "sparse":
        state["s"] = torch.ones(3, 3).to_sparse()
    elif name == "stride":
        state["huge"] = torch.zeros(1).expand(2**31)
    elif name == "overlap":
        state["huge"] = torch.zeros(4096).as_strided((2048, 2048), (1, 1))
    elif name == "complex":
        state["c"] = torch.ones(3, dtype=torch.complex64)
    return state


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "the tensor b.weight has weights that are not finite"),
        ("infinite", "the tensor b.weight has weights that are not finite"),
        ("flipped", "the tensor b.weight has weights that are not finite"),
        ("int key", "a tensor is named '5': names must be text"),
        ("sparse", "sparse tensors"),
        ("stride", "the tensor huge has shape (2147483648,), but only 1 numbers"),
        ("overlap", "the tensor huge has shape (2048, 2048), but only 4,096 numbers"),
        ("complex", "ComplexFloatStorage"),
    ],
)
def test_tensors_that_are_no_weights_are_named(torch, tmp_path, capsys, name, message, zipped):
    path = tmp_path / "G.pth"
    torch.save(odd_state(torch, name), path, _use_new_zipfile_serialization=zipped)
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert message in error
    assert str(path) in error
    assert len(error.strip().splitlines()) == 1


def test_every_flipped_bit_of_a_weight_is_noticed(torch, tmp_path):
    torch.save(random_state(torch), tmp_path / "G.pth")
    content = (tmp_path / "G.pth").read_bytes()
    weights = random_state(torch)["b.weight"].numpy().tobytes()
    start = content.index(weights)
    for place in range(start, start + len(weights), 5):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "G.pth").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"the tensor b\.weight .*CRC"):
            read_state_dict(tmp_path / "G.pth")


def test_bombs_are_refused_before_memory_is_taken(torch, tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "G.pth")
    with zipfile.ZipFile(tmp_path / "G.pth") as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in members.items():
            bomb.writestr(name, content if "data/0" not in name else bytes(50_000_000))
    with pytest.raises(ValueError, match="compressed"):
        read_state_dict(tmp_path / "bomb.pth")
    # A storage that says it has more numbers than the file has bytes.
    torch.save({"a": torch.zeros(77)}, tmp_path / "G.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "G.pth").read_bytes()
    place = content.rindex((77).to_bytes(8, "little"))
    claimed = content[:place] + (2**40).to_bytes(8, "little") + content[place + 8 :]
    (tmp_path / "G.pth").write_bytes(claimed)
    with pytest.raises(ValueError, match="cut off"):
        read_state_dict(tmp_path / "G.pth")
