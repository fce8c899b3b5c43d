"""Large tensors stay in the model's file: it is mapped, and protobuf parses a copy without their bytes.

Parsing a model as one message would hold its weights twice, in the message and as arrays.  So the message is walked
once at the level of protobuf's wire format (https://protobuf.dev/programming-guides/encoding/); wherever a tensor's
``raw_data`` is large, a short token takes its place, and :meth:`Payloads.find` gives the mapped bytes for the token.
Tokens begin with random bytes, so no file can hold one.
"""

from __future__ import annotations

import os

import numpy as np

#: bytes from which a tensor's contents are left in the file
LARGE = 16 * 1024
_MAX_DEPTH = 100  # protobuf's own limit for nested messages
_RAW_DATA = 9
_TOKEN = 24
#: where large tensors may be: the messages inside each message, by field number
_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "tensor": {},
}


class Malformed(Exception):
    """The bytes are not protobuf as far as they were walked."""


class Payloads:
    """The large tensors of one model file, by token."""

    def __init__(self, data: np.ndarray) -> None:
        """``data`` is the file, u8[n]: a map of it or its bytes."""
        self._data = data
        self._view = memoryview(data)  # type: ignore[arg-type]  # NumPy's arrays are buffers
        self._mark = os.urandom(16)
        self._found: dict[bytes, np.ndarray] = {}

    def strip(self) -> bytes:
        """The model without its large tensors' bytes; raises :class:`Malformed` where it is no complete protobuf."""
        return b"".join(self._message("model", 0, len(self._view), 0))

    def find(self, raw: bytes) -> np.ndarray | None:
        """The bytes (u8[n], read-only) that ``raw`` stands for; None when it is no token."""
        return self._found.get(raw) if len(raw) == _TOKEN else None

    def _message(self, kind: str, start: int, end: int, depth: int) -> list[bytes | memoryview]:
        """The message that lies from ``start`` to ``end``, in parts."""
        if depth > _MAX_DEPTH:
            raise Malformed
        nested, parts = _NESTED[kind], list[bytes | memoryview]()
        at = kept = start  # what lies from kept to at goes over as it is
        while at < end:
            tag, length_at = self._number(at, end)
            wire, field = tag & 7, tag >> 3
            if wire == 2:
                length, body = self._number(length_at, end)
                at = body + length
                if length < LARGE or at > end:
                    continue
                if field in nested:
                    inner = self._message(nested[field], body, at, depth + 1)
                elif kind == "tensor" and field == _RAW_DATA:
                    inner = [self._token(body, at)]
                else:
                    continue
                parts += (self._view[kept:length_at], _varint(sum(map(len, inner))), *inner)
                kept = at
            elif wire == 0:
                _, at = self._number(length_at, end)
            elif wire in (1, 5):
                at = length_at + (8 if wire == 1 else 4)
            else:
                raise Malformed
        if at != end:
            raise Malformed
        parts.append(self._view[kept:end])
        return parts

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """The varint at ``at``, and where the next thing begins."""
        view, value, shift = self._view, 0, 0
        while at < end and shift < 70:
            byte = view[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
        raise Malformed

    def _token(self, start: int, end: int) -> bytes:
        token = self._mark + len(self._found).to_bytes(8, "little")
        self._found[token] = self._data[start:end]
        return token


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
