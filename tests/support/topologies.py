# SPDX-License-Identifier: Apache-2.0
"""Networks that several suites use: a TOPOLOGY names one by `$routed`, `$gateway`, ….

What it says besides is its own: chassis, and ports where the piece has none.  A piece that
ends with `nbctl:` and its commands comes last, and further commands may follow it.
"""

from __future__ import annotations

from string import Template

#: sw0 - r0 - sw1
_ROUTED = """\
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 10.1.0.0/24, ipv6: "fd01::/64"}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      r0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [10.1.0.1/24, "fd01::1/64"]}
"""

#: foo, bar - r1 - join - r2 (a gateway router, on hv2) - alice
_GATEWAY = """\
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  alice: {ipv4: 172.16.1.0/24, ipv6: "fd21::/64"}
  join: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [192.168.2.1/24, "fd12::1/64"]}
      r1-join: {switch: join, mac: "0e:00:00:01:00:03", networks: [20.0.0.1/24, "fd20::1/64"]}
  r2:
    ports:
      r2-join: {switch: join, mac: "0e:00:00:02:00:01", networks: [20.0.0.2/24, "fd20::2/64"]}
      r2-alice: {switch: alice, mac: "0e:00:00:02:00:02", networks: [172.16.1.1/24, "fd21::1/64"]}
nbctl:
  - set logical_router r2 options:chassis=hv2
  - lr-route-add r1 172.16.1.0/24 20.0.0.2
  - lr-route-add r1 fd21::/64 fd20::2
  - lr-route-add r2 192.168.0.0/16 20.0.0.1
  - lr-route-add r2 fd11::/64 fd20::1
  - lr-route-add r2 fd12::/64 fd20::1
"""

#: ls0 - lr (a gateway router, on hv1) - ls1
_BALANCING_ROUTER = """\
switches:
  ls0: {ipv4: 192.168.10.0/24, ipv6: "fd10::/64"}
  ls1: {ipv4: 192.168.20.0/24, ipv6: "fd20::/64"}
routers:
  lr:
    ports:
      lr-ls0: {switch: ls0, mac: "0e:00:00:00:00:01", networks: [192.168.10.1/24, "fd10::1/64"]}
      lr-ls1: {switch: ls1, mac: "0e:00:00:00:00:02", networks: [192.168.20.1/24, "fd20::1/64"]}
nbctl:
  - set logical_router lr options:chassis=hv1
"""

#: vm1, vm2 (on hv1), vm3 (on hv2) - sw0 - lr0 - sw1 - vm4 (on hv2)
_GUARDED = """\
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      lr0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [20.0.0.1/24, "fd20::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
  vm4: {switch: sw1, chassis: hv2, port_security: true}
"""

_PIECES = {
    "routed": _ROUTED,
    "gateway": _GATEWAY,
    "balancing_router": _BALANCING_ROUTER,
    "guarded": _GUARDED,
}


def filled(text: str, **names: str) -> str:
    """A TOPOLOGY with its pieces, and what the caller has for other names in it."""
    return Template(text).substitute(_PIECES, **names)
