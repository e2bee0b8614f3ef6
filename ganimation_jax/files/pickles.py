"""Reads pickles of plain containers, numbers, text and NumPy arrays without trusting them.

A pickle is a program for a small machine. This reader runs only the instructions that such
data needs, and calls only the few functions below, which stand in for NumPy's: NumPy itself
never sees what the file says, except bytes and one of the plain number types. What a file can
make it allocate is bounded by the file's own size.
"""

import io
import pickle
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

MOST = 10_000_000  # containers, and remembered objects: a byte of the file may make 100 in memory
DEEPEST = 1000  # levels of nesting
# A damaged file is a damaged program: it can fail in all these ways.
DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
    *(AttributeError, MemoryError, OverflowError, AssertionError, struct.error),
)
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")  # of NumPy's type codes
_AXES = 32
_Unpickler: Any = vars(pickle)["_Unpickler"]  # the one written in Python; untyped


def read(path: Path) -> Any:
    """What a pickle written by Python 2 or 3 holds, in any protocol.

    Text and bytes of Python 2 come as text, byte for byte (Latin-1). Arrays may be read-only.

    Raises:
      ValueError: not a pickle, a damaged one, one that cannot be opened, or one that uses
        anything but plain data and NumPy arrays of numbers (the message names it).
    """
    try:
        if not path.is_file():
            raise ValueError("it does not exist" if not path.exists() else "it is no regular file")
        # Python warns of odd escapes in text that it then reads well.
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            return PlainUnpickler(file, path.stat().st_size).load()
    except (*DAMAGE, OSError) as error:
        said = isinstance(error, pickle.UnpicklingError | ValueError | OSError) and str(error)
        detail = said or "it is damaged"
        raise ValueError(f"cannot read {path}: {detail}") from error


class _Bounded:
    """A file that is not asked for more than it has."""

    def __init__(self, file: io.BufferedIOBase, size: int):
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if count > self._size:
            raise pickle.UnpicklingError("it is cut off")
        return self._file.read(count)


class _Function:
    """What a pickle may call."""

    def __init__(self, call: Callable[..., Any]):
        self.call = call


class _Marker:
    """Stands for a type that is only named."""


class _Dtype:
    """Stands for ``numpy.dtype``: a type code, then a byte order."""

    def __init__(self, code: str, align: object = False, copy: object = True):
        if not (isinstance(code, str) and _NUMBERS.fullmatch(code)):
            raise pickle.UnpicklingError(f"it has an array of type {code!r}, not of plain numbers")
        self.dtype = np.dtype(code)

    def build(self, state: tuple) -> None:
        _, order, shape, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or (shape, names, fields) != (None, None, None):
            raise pickle.UnpicklingError("it has an array of another type than plain numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array between its creation and its contents."""

    def __init__(self, kind: object, shape: object, code: object):
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError("it has an array of a class other than numpy.ndarray")
        self.array: np.ndarray | None = None


def _array(data: object, dtype: object, shape: object, order: object = "C") -> np.ndarray:
    if not (isinstance(data, bytes | bytearray) and isinstance(dtype, _Dtype)):
        raise pickle.UnpicklingError("it has an array that is not made of bytes")
    if not (isinstance(shape, tuple) and len(shape) <= _AXES and order in ("C", "F")):
        raise pickle.UnpicklingError("it has an array of no proper shape")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("it has an array of no proper shape")
    if prod(shape) * dtype.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"it has an array of shape {shape} in {len(data)} bytes")
    array = np.frombuffer(data, dtype.dtype)
    return array.reshape(shape, order=order)


_NDARRAY = _Marker()
# What may be named: a marker, or the name of a method of PlainUnpickler that may be called.
_ALLOWED: dict[tuple[str, str], _Marker | str] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): "_make_dtype",
    ("_codecs", "encode"): "_make_bytes",
    ("builtins", "bytes"): "_make_no_bytes",
    ("__builtin__", "bytes"): "_make_no_bytes",
    ("collections", "OrderedDict"): "_make_dictionary",
}
# NumPy 2 renamed numpy.core; pickles carry the name of the NumPy that wrote them.
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = "_make_empty_array"
    _ALLOWED[f"{_core}.multiarray", "scalar"] = "_make_scalar"
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = "_make_array"


class _Instructions(dict):
    """From code to method."""

    def __missing__(self, code: int) -> Any:
        raise pickle.UnpicklingError(f"it uses the instruction {bytes([code])!r}: no plain data")


# Instructions that only push numbers, text and containers.
_PLAIN = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.FLOAT, pickle.BINFLOAT),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.UNICODE, pickle.BINUNICODE),
    *(pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.BINBYTES8, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_TUPLE, pickle.GLOBAL, pickle.STACK_GLOBAL),
)
_INTEGERS = (pickle.INT, pickle.LONG, pickle.LONG1, pickle.LONG4)
_CONTAINERS = (pickle.MARK, pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT)
_REMEMBER = (pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE)
_RECALL = (pickle.GET, pickle.BINGET, pickle.LONG_BINGET)


class PlainUnpickler(_Unpickler):
    """Runs the instructions above and the methods below.

    Args:
      file: open; it may hold more than one pickle.
      size: of the whole file in bytes.
    """

    names = _ALLOWED
    allowed = "NumPy arrays"

    def __init__(self, file: io.BufferedIOBase, size: int):
        super().__init__(_Bounded(file, size), encoding="latin1")
        self.containers = 0
        # Text that is encoded, and pairs that are copied: honest data has less than its file
        # has bytes, but a file may ask for the same ones again and again.
        self.copies = size

    def find_class(self, module: str, name: str) -> object:
        """What a name in the pickle stands for."""
        if (module, name) not in self.names:
            raise pickle.UnpicklingError(
                f"it wants to use {module}.{name}, and only {self.allowed} are allowed"
            )
        found = self.names[module, name]
        return _Function(getattr(self, found)) if isinstance(found, str) else found

    def _spend(self, count: int) -> None:
        self.copies -= count
        if self.copies < 0:
            raise pickle.UnpicklingError("it makes more data than it holds")

    _make_dtype, _make_empty_array = _Dtype, _Array

    def _make_array(
        self, data: object, dtype: object, shape: object, order: object = "C"
    ) -> np.ndarray:
        if isinstance(data, str):  # bytes of Python 2
            data = self._make_bytes(data)
        return _array(data, dtype, shape, order)

    def _make_scalar(self, dtype: object, data: object) -> Any:
        return self._make_array(data, dtype, ()).item()

    def _make_bytes(self, text: str, encoding: str = "latin1") -> bytes:
        """How protocols 0 to 2 write bytes."""
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"it uses the encoding {encoding!r}")
        self._spend(len(text))
        return text.encode("latin1")

    def _make_no_bytes(self) -> bytes:
        """How protocols 0 to 2 write bytes of which there are none."""
        return b""

    def _make_dictionary(self, pairs: Sequence = ()) -> dict:
        self._spend(len(pairs))
        # The hash of nested tuples can take for ever.
        for key, _ in pairs:
            if not isinstance(key, str | bytes | int | float | None):
                kind = type(key).__name__
                raise pickle.UnpicklingError(f"it has a dictionary with keys of type {kind}")
        return dict(pairs)

    # Instructions

    def run(self, code: int) -> None:
        """An instruction of Python's own reader."""
        _Unpickler.dispatch[code](self)

    def _load_integer(self, code: int) -> None:
        self.run(code)
        if abs(self.stack[-1]) >= 2**128:
            raise pickle.UnpicklingError("it has a whole number of more than 128 bits")

    def _load_container(self, code: int) -> None:
        self.containers += 1
        if self.containers > MOST or len(self.metastack) > DEEPEST:
            raise pickle.UnpicklingError("it has too many containers, or too deeply nested ones")
        self.run(code)

    def _load_remember(self, code: int) -> None:
        self.run(code)
        if len(self.memo) > MOST:
            raise pickle.UnpicklingError("it has too many objects")

    def _load_recall(self, code: int) -> None:
        self.run(code)
        if isinstance(found := self.stack[-1], _Array) and found.array is not None:
            self.stack[-1] = found.array

    def _load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not (isinstance(function, _Function) and isinstance(arguments, tuple)):
            raise pickle.UnpicklingError("it calls something that is no function")
        self.append(function.call(*arguments))

    def _load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack.pop()
        self.append(self.build(instance, state))

    def build(self, instance: object, state: Any) -> object:
        """What an object becomes by its state."""
        if isinstance(instance, _Array):
            _, shape, dtype, fortran, data = state
            instance.array = self._make_array(data, dtype, shape, "F" if fortran else "C")
            return instance.array
        if isinstance(instance, _Dtype):
            instance.build(state)
            return instance
        raise pickle.UnpicklingError(f"it holds objects other than {self.allowed}")

    def _load_append(self) -> None:
        self._extend([self.stack.pop()])

    def _load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _load_setitem(self) -> None:
        value = self.stack.pop()
        self._update([self.stack.pop(), value])

    def _load_setitems(self) -> None:
        self._update(self.pop_mark())

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(items)

    def _load_bytearray8(self) -> None:
        # Python's own makes room before it looks whether there is so much.
        count = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(count)))

    def _extend(self, values: list) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise pickle.UnpicklingError("it appends to something that is no list")
        target.extend(values)

    def _update(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise pickle.UnpicklingError("it sets items of something that is no dictionary")
        target.update(self._make_dictionary([*zip(items[::2], items[1::2], strict=True)]))


def _instructions() -> _Instructions:
    table = _Instructions({code[0]: _Unpickler.dispatch[code[0]] for code in _PLAIN})
    checked = {
        PlainUnpickler._load_integer: _INTEGERS,
        PlainUnpickler._load_container: _CONTAINERS,
        PlainUnpickler._load_remember: _REMEMBER,
        PlainUnpickler._load_recall: _RECALL,
    }
    for method, codes in checked.items():
        for code in codes:
            table[code[0]] = partial(method, code=code[0])
    for code, name in {
        pickle.REDUCE: "reduce", pickle.BUILD: "build", pickle.APPEND: "append",
        pickle.APPENDS: "appends", pickle.SETITEM: "setitem", pickle.SETITEMS: "setitems",
        pickle.DICT: "dict", pickle.BYTEARRAY8: "bytearray8",
    }.items():  # fmt: skip
        table[code[0]] = getattr(PlainUnpickler, f"_load_{name}")
    return table


PlainUnpickler.dispatch = _instructions()
