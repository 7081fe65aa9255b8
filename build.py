# SPDX-License-Identifier: Apache-2.0
"""Makes what is compiled: the cffi extension, the BPF objects, libbpf's bindings.

setup.py calls generate() before it collects files, native() for the
extension `ovn_bpf_controller._native` and learn() when that is built.  The shared
structs have one definition, include/ovn_bpf/*.h: the C compiler's own preprocessor
turns it into cffi's declarations, so that nothing is copied by hand.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cffi import FFI

from tools import libbpf_bindings

ROOT = Path(__file__).resolve().parent
SHARED = ROOT / "include" / "ovn_bpf"
NATIVE = ROOT / "csrc" / "native"
BPF = ROOT / "csrc"
BPF_OUT = ROOT / "ovn_bpf_controller" / "bpf"
LIBBPF_OUT = ROOT / "ovn_bpf_controller" / "datapath" / "_libbpf.py"

# cffi knows no kernel types.  They are spelt as <asm-generic/int-ll64.h> does,
# since cffi compares them with the real ones.
KERNEL_TYPES = """
typedef unsigned char __u8;   typedef signed char __s8;
typedef unsigned short __u16; typedef short __s16; typedef unsigned short __be16;
typedef unsigned int __u32;   typedef int __s32;   typedef unsigned int __be32;
typedef unsigned long long __u64; typedef long long __s64;
"""

CLANGS = ("clang-16", "clang-14", "clang-19", "clang")
BPF_FLAGS = ("-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror")


# --- the cffi extension -------------------------------------------------


def _headers() -> list[Path]:
    return sorted(SHARED.glob("*.h")) + sorted(NATIVE.glob("*.h"))


# Headers whose maps outlive a change of layout, by the name of their hash.
PASSED_ON = {"ovn_ct_layout_hash": "conntrack.h", "ovn_learnt_layout_hash": "learnt.h"}
LAYOUTS = "".join(f"extern const char {name}[];\n" for name in ("ovn_layout_hash", *PASSED_ON))


def declarations() -> str:
    """What cffi is to know: types, constants and prototypes of our headers.

    System headers are cut out (KERNEL_TYPES and cffi's own stand in for them);
    object-like macros become constants whose value the C compiler fills in.
    """
    expanded = _preprocess(_headers())
    constants = "".join(_constants(_headers()))
    return KERNEL_TYPES + constants + expanded + LAYOUTS


def _preprocess(headers: Iterable[Path]) -> str:
    with tempfile.TemporaryDirectory() as tmp:
        names = []
        for header in headers:
            text = re.sub(r"^\s*#\s*include\s*<.*$", "", header.read_text(), flags=re.M)
            inside = Path(tmp) / header.relative_to(ROOT)
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_text(text)
            names.append(f'#include "{header.relative_to(ROOT)}"\n')
        return subprocess.run(
            [os.environ.get("CC", "cc"), "-E", "-P", "-nostdinc", "-I.", "-Iinclude", "-"],
            input="".join(names),
            cwd=tmp,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout


def layout_hash() -> str:
    """What two builds must agree on to share maps: structs, numbers, constants.

    Comments do not count.  datapath.loader names the pin directory by it.
    """
    shared = sorted(SHARED.glob("*.h"))
    macro = re.compile(r"^#define[^/\n]*", re.M)
    macros = "\n".join(line for h in shared for line in macro.findall(h.read_text()))
    return hashlib.sha256((_preprocess(shared) + macros).encode()).hexdigest()[:16]


def header_hash(header: str) -> str:
    """What two builds must agree on to share a header's maps: it, but for comments.

    datapath.inherit asks whether they can outlive a change of layout.
    """
    text = re.sub(r"/\*.*?\*/", "", (SHARED / header).read_text(), flags=re.S)
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def _constants(headers: Iterable[Path]) -> Iterable[str]:
    macro = re.compile(r"^#define[ \t]+([A-Z]\w*)[ \t]+(?![ \t]*/\*)\S", re.M)
    for header in headers:
        for name in macro.findall(header.read_text()):
            yield f"#define {name} ...\n"


def native() -> FFI:
    """The extension `ovn_bpf_controller._native`, in cffi's API mode."""
    ffi = FFI()
    ffi.cdef(declarations())
    includes = "".join(f'#include "{h.relative_to(ROOT)}"\n' for h in _headers())
    hashes = {name: header_hash(header) for name, header in PASSED_ON.items()}
    hashes["ovn_layout_hash"] = layout_hash()
    constants = "".join(f'const char {name}[] = "{text}";\n' for name, text in hashes.items())
    ffi.set_source(
        "ovn_bpf_controller._native",
        "#include <linux/types.h>\n#include <stdint.h>\n#include <stddef.h>\n"
        f"{includes}{constants}",
        sources=[str(c.relative_to(ROOT)) for c in sorted(NATIVE.glob("*.c"))],
        depends=[str(h.relative_to(ROOT)) for h in _headers()],
        include_dirs=[".", "include", "csrc/native"],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
    )
    return ffi


# --- the BPF objects ----------------------------------------------------


def compile_bpf() -> list[Path]:
    """Compiles csrc/*.bpf.c; returns the objects.  An up-to-date one is kept."""
    sources = sorted(BPF.glob("*.bpf.c"))
    newest = max(
        (f.stat().st_mtime for f in [*BPF.rglob("*.[ch]"), *SHARED.glob("*.h")]), default=0
    )
    made = []
    BPF_OUT.mkdir(exist_ok=True)
    for source in sources:
        target = BPF_OUT / source.name.replace(".bpf.c", ".o")
        if not target.exists() or target.stat().st_mtime < newest:
            clang(source, target)
        made.append(target)
    return made


def _uapi() -> list[str]:
    """Debian keeps <asm/types.h> in a directory that only the native compiler knows."""
    cc = os.environ.get("CC", "cc")
    triplet = subprocess.run(
        [cc, "-print-multiarch"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()
    return [f"-I/usr/include/{triplet}"] if triplet else []


def clang(source: Path, target: Path) -> None:
    """Compiles a BPF object.  SystemExit without clang, CalledProcessError for errors."""
    program = os.environ.get("CLANG") or next((c for c in CLANGS if shutil.which(c)), None)
    if program is None:
        raise SystemExit(f"build: none of {', '.join(CLANGS)} is installed")
    part = target.with_suffix(".part")
    subprocess.run(
        [program, *BPF_FLAGS, *_uapi(), "-Iinclude", "-Icsrc", "-c", str(source), "-o", str(part)],
        cwd=ROOT,
        check=True,
    )
    # DWARF is of no use to the kernel and doubles the size; BTF stays.
    strip = shutil.which(program.replace("clang", "llvm-strip"))
    if strip:
        subprocess.run([strip, "-g", str(part)], check=True)
    part.replace(target)


# --- libbpf ---------------------------------------------------------------


def bind_libbpf() -> Path:
    """Writes datapath/_libbpf.py from the installed headers; returns its path."""
    text = libbpf_bindings.generate()
    if not LIBBPF_OUT.exists() or LIBBPF_OUT.read_text() != text:
        LIBBPF_OUT.write_text(text)
    return LIBBPF_OUT


# --- what the flow compiler knows from the start ------------------------------


def learn(package: Path) -> None:
    """Writes compile/shapes.bin in the package under `package`, extension and all."""
    command = [sys.executable, "-B", "tools/known_shapes.py", "tools/northd_flows.txt"]
    inherited = os.environ.get("PYTHONPATH")  # where pip keeps what the build needs
    path = os.pathsep.join(filter(None, [str(package), inherited]))
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True)


def generate() -> None:
    """Makes the files of the package that are neither written nor the extension."""
    bind_libbpf()
    compile_bpf()


if __name__ == "__main__":
    generate()
