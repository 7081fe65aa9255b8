# SPDX-License-Identifier: Apache-2.0
"""The generated bindings say what libbpf's headers say, and libbpf has it all."""

from __future__ import annotations

import ctypes

import pytest

from ovn_bpf_controller.datapath import _libbpf
from tools import libbpf_bindings

SIGNATURES = {
    "bpf_object__open_file": (_libbpf.bpf_object, [ctypes.c_char_p, ctypes.c_void_p]),
    "bpf_object__close": (None, [_libbpf.bpf_object]),
    "bpf_object__next_map": (_libbpf.bpf_map, [_libbpf.bpf_object, _libbpf.bpf_map]),
    "bpf_map__set_max_entries": (ctypes.c_int, [_libbpf.bpf_map, ctypes.c_uint]),
    "bpf_map__name": (ctypes.c_char_p, [_libbpf.bpf_map]),
    "bpf_program__fd": (ctypes.c_int, [_libbpf.bpf_program]),
    "bpf_obj_pin": (ctypes.c_int, [ctypes.c_int, ctypes.c_char_p]),
    "bpf_link_update": (ctypes.c_int, [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    function = getattr(_libbpf._lib, name)
    assert (function.restype, function.argtypes) == SIGNATURES[name]


@pytest.mark.parametrize("name", libbpf_bindings.FUNCTIONS)
def test_the_installed_library_has_every_function(name: str) -> None:
    assert callable(getattr(ctypes.CDLL(_libbpf.SONAME), name))
    assert callable(getattr(_libbpf, name))


def test_the_module_is_up_to_date() -> None:
    with open(_libbpf.__file__) as file:
        assert file.read() == libbpf_bindings.generate()


def test_a_function_that_the_headers_lack_stops_the_build() -> None:
    with pytest.raises(KeyError, match="bpf_no_such_call"):
        libbpf_bindings.generate(("bpf_no_such_call",))


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("int f(void);", "def f() -> int:"),
        ("void f(int a);", "def f(a: int) -> None:"),
        ("unsigned long long f(long unsigned int a);", "def f(a: int) -> int:"),
        ("typedef unsigned int u; u f(u a);", "_lib.f.restype = ctypes.c_uint"),
        ("typedef long long s; s f(s a);", "_lib.f.argtypes = [ctypes.c_longlong]"),
        ("enum e { A }; enum e f(enum e a);", "_lib.f.argtypes = [ctypes.c_uint]"),
        ("struct s; struct s *f(const struct s *a);", "def f(a: s) -> s:"),
        ("int f(const char *a);", "def f(a: bytes | None) -> int:"),
        ("int f(char *a);", "def f(a: Any) -> int:"),
        ("struct x_opts; int f(struct x_opts *a);", "_lib.f.argtypes = [ctypes.c_void_p]"),
    ],
)
def test_types_of_c_in_python(declaration: str, expected: str) -> None:
    assert expected in libbpf_bindings.Bindings(declaration).module(("f",), 1)


def test_a_call_reaches_libbpf() -> None:
    assert _libbpf.bpf_obj_pin(-1, b"/no/such/pin") < 0
