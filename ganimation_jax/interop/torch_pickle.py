"""Reads PyTorch's ``.pth`` files without PyTorch and without trusting them.

Two formats exist: a zip archive with the file of each storage (PyTorch 1.6 and later), and
before that a sequence of pickles with the storages behind it. Both hold a pickle that makes
tensors of pieces of storages. It is run by the machine of ``files.pickles``, which calls
nothing but the few functions below, and every size is checked against the file's own.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ganimation_jax.files.pickles import PlainUnpickler

MAGIC = 0x1950A86A20F9469CFC6C  # of files before PyTorch 1.6
# Storages by their class in PyTorch; bfloat16 is the upper half of a float32.
_KINDS = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip
_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): "_make_dictionary",
    ("torch._utils", "_rebuild_tensor_v2"): "_make_tensor",
    ("torch._utils", "_rebuild_tensor"): "_make_tensor",
    ("torch._utils", "_rebuild_parameter"): "_make_parameter",
}
_AXES = 16


class Storage(NamedTuple):
    """What a tensor is a piece of."""

    key: str
    kind: str  # a key of _KINDS
    length: int  # numbers


class Tensor(NamedTuple):
    """A piece of a storage, counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Archive(NamedTuple):
    """A file's content, and how to get the bytes of a storage."""

    content: Any  # containers, numbers, text and ``Tensor``
    read: Callable[[Storage], bytes]
    order: str  # "<" or ">"


def open_archive(file: io.BufferedIOBase, size: int) -> Archive:
    """Read all but the storages.

    Args:
      file: open, at its start; it must stay open while storages are read.
      size: of the file in bytes.

    Raises:
      ValueError, zipfile.BadZipFile, and all errors of ``pickle``: it is something else, or
        damaged.
    """
    if zipfile.is_zipfile(file):
        return _open_zip(zipfile.ZipFile(file), size)
    file.seek(0)
    return _open_old(file, size)


def array_of(tensor: Tensor, storage: np.ndarray) -> np.ndarray:
    """A view of the storage in the tensor's shape.

    Raises:
      ValueError: the tensor reaches beyond its storage, or is larger than it.
    """
    shape, strides = tensor.shape, tensor.strides
    if prod(shape) > max(storage.size, 1):
        raise ValueError(
            f"has shape {shape}, but only {storage.size:,} numbers: save a contiguous copy of it"
        )
    last = tensor.offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if prod(shape) and last >= storage.size:
        raise ValueError("reaches beyond the numbers that the file has for it")
    if not prod(shape):
        return np.zeros(shape, storage.dtype)
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], shape, steps, writeable=False)


def numbers_of(storage: Storage, data: bytes, order: str) -> np.ndarray:
    """The numbers of a storage.

    Raises:
      ValueError: there are not as many as it says.
    """
    kind = np.dtype(_KINDS[storage.kind]).newbyteorder(order)  # type: ignore[arg-type]
    if len(data) != storage.length * kind.itemsize:
        raise ValueError(f"should have {storage.length:,} numbers, but has {len(data):,} bytes")
    numbers = np.frombuffer(data, kind)
    if storage.kind == "BFloat16Storage":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


class _TorchUnpickler(PlainUnpickler):
    """Knows tensors and storages beside plain data."""

    names = _NAMES
    allowed = "tensors"

    def find_class(self, module: str, name: str) -> object:
        if "sparse" in name or "qtensor" in name:
            kind = "sparse" if "sparse" in name else "quantised"
            raise pickle.UnpicklingError(f"it has {kind} tensors: save dense ones of floats")
        if module == "torch" and name in _KINDS:
            return name
        return super().find_class(module, name)

    def _load_binpersid(self) -> None:
        match self.stack.pop():
            case ("storage", str(kind), str(key), str(), int(count), *_) if kind in _KINDS:
                self.append(Storage(key, kind, count))
            case other:
                raise pickle.UnpicklingError(f"it refers to {str(other)[:80]}, which is no storage")

    def _make_tensor(
        self, storage: Storage, offset: int, shape: Sequence, strides: Sequence, *_: object
    ) -> Tensor:
        numbers = [offset, *shape, *strides]
        if not (
            isinstance(storage, Storage)
            and len(shape) == len(strides) <= _AXES
            and all(type(number) is int and 0 <= number < 2**62 for number in numbers)
        ):
            raise pickle.UnpicklingError("it has a tensor of no proper shape")
        return Tensor(storage, offset, tuple(shape), tuple(strides))

    def _make_parameter(self, data: object, *_: object) -> object:
        return data

    def build(self, instance: object, state: object) -> object:
        # A state dict has an attribute with versions of modules.
        return instance if type(instance) is dict else super().build(instance, state)


_TorchUnpickler.dispatch = type(PlainUnpickler.dispatch)(
    PlainUnpickler.dispatch | {pickle.BINPERSID[0]: _TorchUnpickler._load_binpersid}
)


def _load(file: io.BufferedIOBase, size: int) -> Any:
    return _TorchUnpickler(file, size).load()


def _open_zip(file: zipfile.ZipFile, size: int) -> Archive:
    members = {one.filename.partition("/")[2]: one for one in file.infolist()}
    for one in members.values():
        # PyTorch never compresses, so that no member is larger than the file.
        if one.compress_type != zipfile.ZIP_STORED or one.file_size > size:
            raise ValueError("it is compressed, which PyTorch's own files are not")

    def member(name: str) -> bytes:
        if name not in members:
            raise ValueError(f"it has no {name}")
        return file.read(members[name])

    pickled = member("data.pkl")
    order = member("byteorder") if "byteorder" in members else b"little"
    return Archive(
        _load(io.BytesIO(pickled), len(pickled)),
        lambda storage: member(f"data/{storage.key}"),
        ">" if order == b"big" else "<",
    )


def _open_old(file: io.BufferedIOBase, size: int) -> Archive:
    if _load(file, size) != MAGIC:
        raise ValueError("it is no PyTorch file")
    _load(file, size)  # the version of the protocol
    system = _load(file, size)
    content, keys = _load(file, size), _load(file, size)
    places: dict[str, tuple[int, int]] = {}
    order = "<" if system.get("little_endian", True) else ">"
    ends = "little" if order == "<" else "big"
    sizes = {storage.key: storage for storage in _storages(content)}
    for key in keys:
        count = int.from_bytes(file.read(8), ends)  # type: ignore[arg-type]
        if key not in sizes:
            raise ValueError("it has a storage that no tensor uses")
        length = count * np.dtype(_KINDS[sizes[key].kind]).itemsize
        places[key] = (file.tell(), length)
        if file.tell() + length > size:
            raise ValueError("it is cut off")
        file.seek(length, io.SEEK_CUR)

    def read(storage: Storage) -> bytes:
        if storage.key not in places:
            raise ValueError("the file has no numbers for it")
        start, length = places[storage.key]
        file.seek(start)
        return file.read(length)

    return Archive(content, read, order)


def _storages(content: object) -> list[Storage]:
    """Of all tensors, at any depth."""
    found, waiting, seen = [], [content], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            found.append(one.storage)
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, dict) else one
    return found
