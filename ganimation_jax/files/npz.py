"""Reads ``.npz`` files without trusting them: sizes are checked before memory is taken."""

import io
import struct
import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

# What zipfile raises on damaged files; OSError when it seeks where they say.
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError),
    *(struct.error, LookupError, OverflowError, MemoryError),
)
LARGEST = 1 << 32  # bytes in all
# The header is an expression of Python.
HEADER_DAMAGE = (SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
HEADER = 10_000  # bytes at most, which NumPy allows too


def read_npz(source: Path | BinaryIO, largest: int = LARGEST) -> dict[str, np.ndarray]:
    """The arrays of numbers and text in a file of ``numpy.savez``.

    Args:
      source: the file, or one that is open.
      largest: bytes that the arrays may take in all.

    Raises:
      OSError: it cannot be opened.
      ValueError: it is something else, damaged, or larger than allowed.
    """
    if isinstance(source, Path) and not source.is_file():
        raise ValueError("it does not exist" if not source.exists() else "it is no regular file")
    with source.open("rb") if isinstance(source, Path) else source as opened:
        try:
            file = zipfile.ZipFile(opened)
            if sum(one.file_size for one in file.infolist()) > largest:
                raise ValueError(f"its arrays take more than {largest:,} bytes")
            return {
                one.filename.removesuffix(".npy"): _read_array(file, one) for one in file.infolist()
            }
        except ZIP_DAMAGE as error:
            detail = str(error) or type(error).__name__
            raise ValueError(f"it is damaged, or no .npz file ({detail})") from error


def _read_array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        try:
            shape, fortran, dtype = read(stream, max_header_size=HEADER)
        except HEADER_DAMAGE as error:
            raise ValueError(f"{name} has a damaged header") from error
        if dtype.kind not in "biufU":
            raise ValueError(f"{name} is of type {dtype}, not of numbers or text")
        # The declared size of a member is what zipfile reads of it at most.
        expected = prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or expected > member.file_size:
            raise ValueError(f"{name} has shape {shape} in {member.file_size} bytes")
        data = io.BytesIO(stream.read()).getbuffer()
    if len(data) != expected:
        raise ValueError(f"{name} has shape {shape} in {len(data)} bytes")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
