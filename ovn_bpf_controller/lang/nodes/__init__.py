# SPDX-License-Identifier: Apache-2.0
"""Typed trees of OVN's match and action language, by kind of verb; all names are here, too.

Everything is frozen and hashable, so trees serve as cache keys.  Leaves and Fields
keep the name they were written with (xxreg0, xreg1, reg3 are roots of their own);
`lang.normal` knows that they overlap and gives conjunctions over reg0..reg9 only.

A class that adds no field to its base is a plain subclass: what @dataclass would
write for it, the base has, and writing it takes time at every start.
"""

from ovn_bpf_controller.lang.nodes.action import *  # noqa: F403
from ovn_bpf_controller.lang.nodes.blocks import *  # noqa: F403
from ovn_bpf_controller.lang.nodes.conntrack import *  # noqa: F403
from ovn_bpf_controller.lang.nodes.learnt import *  # noqa: F403
from ovn_bpf_controller.lang.nodes.match import *  # noqa: F403
from ovn_bpf_controller.lang.nodes.slowpath import *  # noqa: F403
