"""Results by key in a file that only grows: work that was killed goes on, to the same bits.

The file begins with what it is of. A record is a key, the number of bytes, a checksum and numbers;
what a killed process left of the last one is cut off.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HEAD = struct.Struct("<16sI8s")  # key, bytes, checksum


class Journal:
    """Results by key, in a file that only grows; one that is of something else is begun anew."""

    def __init__(self, path: Path, of: str) -> None:
        self.path, self._first = path, f"migrate-bayes journal 1 {of}\n".encode()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Self:
        self.path.touch()
        self._file = self.path.open("r+b", buffering=0)
        end = self._read()
        self._file.seek(end)
        self._file.truncate()
        if not end:
            self._file.write(self._first)
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.close()

    def _read(self) -> int:
        """Find the records; return where the last whole one ends."""
        content = memoryview(self.path.read_bytes())
        if content[: len(self._first)] != self._first:
            return 0
        place = len(self._first)
        while place + _HEAD.size <= len(content):
            key, size, checksum = _HEAD.unpack_from(content, place)
            body = content[place + _HEAD.size : place + _HEAD.size + size]
            if len(body) < size or _checksum(key, body) != checksum:
                break
            self._places[key] = place + _HEAD.size, size
            place += _HEAD.size + size
        return place

    def get(self, key: bytes) -> Floats | None:
        """Return the numbers of a key, if they are there."""
        if key not in self._places:
            return None
        place, size = self._places[key]
        with self._lock:
            self._file.seek(place)
            return np.frombuffer(self._file.read(size)).copy()

    def put(self, key: bytes, numbers: Floats) -> None:
        """Append the numbers of a key."""
        body = numbers.astype(np.float64).tobytes()
        with self._lock:
            place = self._file.seek(0, 2)
            record = _HEAD.pack(key, len(body), _checksum(key, body)) + body
            try:
                whole = self._file.write(record) == len(record)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.path)) from None
            if not whole:  # the last bytes of a disk are taken without an error
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            self._places[key] = place + _HEAD.size, len(body)


def _checksum(key: bytes, body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(key + bytes(body), digest_size=8).digest()
