# SPDX-License-Identifier: Apache-2.0
"""The parts of the build that pyproject.toml cannot say.

Called by pip, make and the packagers.  Everything that is made rather than
written (the BPF object, the libbpf bindings) is made before setuptools looks
for what to ship, so wheel, DEB and RPM share one path.  See build.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.install_scripts import install_scripts

sys.path.insert(0, str(Path(__file__).resolve().parent))  # PEP 517 does not

import build  # noqa: E402


class BuildPy(build_py):
    """Makes generated files first: they are modules and package data."""

    def run(self) -> None:
        build.generate()
        super().run()


class BuildExt(build_ext):
    """The same for `build_ext --inplace`, which runs no build_py.

    The extension comes first, so that Python can be worked on while the
    program does not compile.
    """

    def run(self) -> None:
        super().run()
        build.generate()
        build.learn(build.ROOT if self.inplace else Path(self.build_lib).resolve())


class InstallScripts(install_scripts):
    """Console scripts that import what they run, as pip's do.

    The packages' were setuptools', which read the metadata of what is installed at each
    start: 25 ms, as long as half of our imports.
    """

    def run(self) -> None:
        super().run()
        if self.no_ep:  # a wheel: pip makes them
            return
        scripts: Any = self.distribution
        for entry in scripts.entry_points["console_scripts"]:
            name, module, function = re.split(r"\s*[=:]\s*", entry)
            path = Path(self.install_dir, name)
            shebang = path.read_text().partition("\n")[0]
            lines = shebang, "import sys", f"from {module} import {function}"
            path.write_text("\n".join([*lines, f"sys.exit({function}())\n"]))


setup(
    cffi_modules=["build.py:native"],
    cmdclass={"build_py": BuildPy, "build_ext": BuildExt, "install_scripts": InstallScripts},
)
