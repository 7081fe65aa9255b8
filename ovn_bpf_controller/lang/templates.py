# SPDX-License-Identifier: Apache-2.0
"""Template variables: ^NAME in a match or an action list.

The agent substitutes the values of its chassis (Chassis_Template_Var) before
a text is parsed, as OVN does in lib/lex.c; quoted strings are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ovn_bpf_controller.errors import LangError

_TEMPLATE = re.compile(r'"(?:[^"\\]|\\.)*"|\^([A-Za-z_.][A-Za-z_.0-9]*)', re.DOTALL)


def template_names(text: str) -> frozenset[str]:
    """Names of the template variables that text uses, without the ^."""
    if "^" not in text:
        return frozenset()
    return frozenset(m[1] for m in _TEMPLATE.finditer(text) if m[1])


def substitute_templates(text: str, variables: Mapping[str, str]) -> str:
    """text with every ^NAME replaced by its value.

    Raises LangError when a variable has no value: the flow is left out until
    it has one (OVN since 23.06).
    """
    if "^" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not name:
            return match[0]
        if name not in variables:
            raise LangError(f"template variable {name} has no value", text, match.start())
        return variables[name]

    return _TEMPLATE.sub(value, text)
