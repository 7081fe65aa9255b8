# SPDX-License-Identifier: Apache-2.0
"""Names in traces, as ovn-trace writes them (its shorten_uuid())."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.cli.friendly import Names, own_names, rename, shorten
from ovn_bpf_controller.observe.trace_node import Kind, Node

UUID = "5f6bb1a0-8a3c-4c0e-9a53-0f3d6a1b2c3d"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (UUID, "5f6bb1"),
        (f"neutron-{UUID}", "neutron-5f6bb1"),
        (f"cr-lrp-{UUID.upper()}", f"cr-lrp-{UUID[:6].upper()}"),
        (f"{UUID}-x", f"{UUID}-x"),
        (UUID[1:], UUID[1:]),
        ("vm1", "vm1"),
        ("", ""),
    ],
)
def test_a_uuid_at_the_end_is_shortened(name: str, wanted: str) -> None:
    assert shorten(name) == wanted


def trace() -> Node:
    root = Node(Kind.PIPELINE, f'ingress(dp="neutron-{UUID}", inport="{UUID}")')
    root.add(Kind.ACTION, f'outport = "{UUID}"; log(name="n-{UUID}", x="\\u00e9")')
    root.add(Kind.MODIFY, 'output("vm2")', remark='/* chassis "vm2" */')
    return root


def test_names_are_replaced_where_they_are_names() -> None:
    root = trace()
    rename(root, Names({f"neutron-{UUID}": "net"}, {UUID: 'a"b', "vm2": ""}))
    assert root.text == 'ingress(dp="net", inport="a\\"b")'
    assert root.subs[0].text == f'outport = "a\\"b"; log(name="n-{UUID}", x="\\u00e9")'
    assert (root.subs[1].text, root.subs[1].remark) == ('output("vm2")', '/* chassis "vm2" */')


def test_without_a_database_uuids_are_shortened() -> None:
    root = trace()
    rename(root, own_names(root))
    assert root.text == 'ingress(dp="neutron-5f6bb1", inport="5f6bb1")'
