# SPDX-License-Identifier: Apache-2.0
"""The digest by which things are told apart: builds, layouts, names.  Nothing secret.

hashlib loads libcrypto for the others that it has, a fortieth of what all our imports
cost; this one is the interpreter's own, wherever it is CPython's.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b


def digest(data: bytes, size: int = 16) -> bytes:
    """`size` bytes, at most 64, of which each says something of all of `data`."""
    return blake2b(data, digest_size=size).digest()
