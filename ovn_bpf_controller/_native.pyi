# SPDX-License-Identifier: Apache-2.0
"""What the cffi extension made by build.py looks like to mypy."""

from typing import Any

from _cffi_backend import FFI

ffi: FFI
lib: Any
