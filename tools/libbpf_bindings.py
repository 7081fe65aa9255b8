# SPDX-License-Identifier: Apache-2.0
"""Writes ctypes bindings for the libbpf functions that we use.

build.py calls generate() at build time.  Signatures come from the installed
headers through a C parser, never from memory: a function that changed or went
away breaks the build, not a running agent.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from pycparser import CParser, c_ast, c_generator

HEADERS = "#include <bpf/libbpf_version.h>\n#include <bpf/libbpf.h>\n#include <bpf/bpf.h>\n"

FUNCTIONS = (
    "libbpf_set_print",
    "libbpf_probe_bpf_helper",
    "libbpf_probe_bpf_map_type",
    "bpf_object__open_file",
    "bpf_object__load",
    "bpf_object__close",
    "bpf_object__next_map",
    "bpf_object__next_program",
    "bpf_map__name",
    "bpf_map__fd",
    "bpf_map__max_entries",
    "bpf_map__set_max_entries",
    "bpf_map__reuse_fd",
    "bpf_program__name",
    "bpf_program__section_name",
    "bpf_program__fd",
    "bpf_program__set_autoload",
    "bpf_program__set_log_buf",
    "bpf_obj_pin",
    "bpf_link_update",
    "bpf_link_detach",
    "bpf_prog_get_fd_by_id",
    "bpf_link_get_fd_by_id",
)

# GNU C that the parser does not read; none of it changes a signature.
CUT = (
    "-D__attribute__(x)=",
    "-D__asm__(x)=",
    "-D__extension__=",
    "-D__inline=inline",
    "-D__restrict=",
    "-D__signed__=signed",
    "-D__builtin_va_list=int",
)

SCALARS = {
    "void": ("None", "None"),
    "_Bool": ("ctypes.c_bool", "bool"),
    "char": ("ctypes.c_char", "bytes"),
    "signed char": ("ctypes.c_byte", "int"),
    "unsigned char": ("ctypes.c_ubyte", "int"),
    "short": ("ctypes.c_short", "int"),
    "unsigned short": ("ctypes.c_ushort", "int"),
    "int": ("ctypes.c_int", "int"),
    "unsigned int": ("ctypes.c_uint", "int"),
    "long": ("ctypes.c_long", "int"),
    "unsigned long": ("ctypes.c_ulong", "int"),
    "long long": ("ctypes.c_longlong", "int"),
    "unsigned long long": ("ctypes.c_ulonglong", "int"),
    "enum": ("ctypes.c_uint", "int"),
}

PREAMBLE = '''\
# SPDX-License-Identifier: Apache-2.0
"""libbpf by ctypes.  Made by tools/libbpf_bindings.py: do not edit.

Integer results are negative errno values on failure; pointers are NULL, with
the cause in ctypes.get_errno().
"""

from __future__ import annotations

import ctypes
from typing import Any

SONAME = "libbpf.so.{major}"
_lib = ctypes.CDLL(SONAME, use_errno=True)
'''


@dataclass(frozen=True)
class CType:
    """How one C type is written for ctypes and for mypy."""

    ctypes: str
    python: str


class Bindings:
    """Turns the declarations of a parsed header into Python text."""

    def __init__(self, text: str) -> None:
        self._typedefs: dict[str, c_ast.Node] = {}
        self._functions: dict[str, c_ast.FuncDecl] = {}
        self._structs: dict[str, None] = {}
        for node in CParser().parse(text).ext:
            if isinstance(node, c_ast.Typedef):
                self._typedefs[node.name] = node.type
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                self._functions[node.name] = node.type

    def module(self, names: tuple[str, ...], major: int) -> str:
        """The whole module.  KeyError names a function the headers lack."""
        functions = [self._function(name, self._functions[name]) for name in names]
        structs = [
            f'\n\nclass {name}(ctypes.c_void_p):\n    """struct {name} *"""\n'
            for name in self._structs
        ]
        return PREAMBLE.format(major=major) + "".join(structs) + "".join(functions)

    def _function(self, name: str, node: c_ast.FuncDecl) -> str:
        params = [p for p in (node.args.params if node.args else []) if self._named(p)]
        types = [self._ctype(p.type) for p in params]
        result = self._ctype(node.type)
        signature = ", ".join(f"{p.name}: {t.python}" for p, t in zip(params, types, strict=True))
        prototype = c_generator.CGenerator().visit(node).replace("\n", " ")
        call = f"_lib.{name}({', '.join(p.name for p in params)})"
        if result.python == "None":
            body = f"    {call}\n"
        else:
            body = f"    value: {result.python} = {call}\n    return value\n"
        return (
            f"\n\n_lib.{name}.argtypes = [{', '.join(t.ctypes for t in types)}]\n"
            f"_lib.{name}.restype = {result.ctypes}\n\n\n"
            f"def {name}({signature}) -> {result.python}:\n"
            f'    """{prototype}"""\n'
            f"{body}"
        )

    @staticmethod
    def _named(param: c_ast.Node) -> bool:
        return getattr(param, "name", None) is not None

    def _ctype(self, node: c_ast.Node) -> CType:
        if isinstance(node, c_ast.PtrDecl):
            return self._pointer(node.type)
        kind = self._resolve(node)
        if isinstance(kind, c_ast.PtrDecl):
            return self._pointer(kind.type)
        return CType(*SCALARS[self._scalar(kind)])

    def _pointer(self, target: c_ast.Node) -> CType:
        kind = self._resolve(target)
        inner = kind.type if isinstance(kind, c_ast.TypeDecl) else kind
        if isinstance(inner, c_ast.Struct) and not inner.name.endswith("_opts"):
            self._structs[inner.name] = None
            return CType(inner.name, inner.name)
        if isinstance(inner, c_ast.IdentifierType) and inner.names == ["char"]:
            if "const" in target.quals:
                return CType("ctypes.c_char_p", "bytes | None")
            return CType("ctypes.c_void_p", "Any")  # a buffer that libbpf fills
        return CType("ctypes.c_void_p", "Any")

    def _resolve(self, node: c_ast.Node) -> c_ast.Node:
        while isinstance(node, c_ast.TypeDecl):
            inner = node.type
            if isinstance(inner, c_ast.IdentifierType) and inner.names[0] in self._typedefs:
                node = self._typedefs[inner.names[0]]
            else:
                return node
        return node

    @staticmethod
    def _scalar(node: c_ast.Node) -> str:
        inner = node.type
        if isinstance(inner, c_ast.Enum):
            return "enum"
        names = [n for n in inner.names if n not in ("signed",)] or ["int"]
        if len(names) > 1 and names[-1] == "int" and names != ["unsigned", "int"]:
            names.pop()
        if names[0] in ("long", "short") and names[-1] == "unsigned":
            names = ["unsigned", *names[:-1]]
        return "unsigned int" if names == ["unsigned"] else " ".join(names)


def _preprocess(*flags: str) -> str:
    command = [os.environ.get("CC", "cc"), "-E", "-P", *flags, "-"]
    run = subprocess.run(command, input=HEADERS, check=True, text=True, stdout=subprocess.PIPE)
    return run.stdout


def _major() -> int:
    for line in _preprocess("-dM").splitlines():
        if line.startswith("#define LIBBPF_MAJOR_VERSION "):
            return int(line.split()[2])
    raise SystemExit("build: bpf/libbpf_version.h names no LIBBPF_MAJOR_VERSION")


def generate(functions: tuple[str, ...] = FUNCTIONS) -> str:
    """The text of the module, from the libbpf headers that the compiler finds."""
    return Bindings(_preprocess(*CUT)).module(functions, _major())
