# SPDX-License-Identifier: Apache-2.0
"""What a packet of a given generation finds in the maps, told in model's terms.

Follows the rules of include/ovn_bpf/tables.h as the program does, by cffi structs
and system calls alone: nothing of datapath's own bookkeeping is used, so that
tests of the tables compare two things written apart.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import HashMap, map_info

RuleKey = tuple[int, int, tuple[tuple[int, int], ...], tuple[int, ...]]


@dataclass(frozen=True)
class View:
    """Everything reachable.  Chassis are told by the remote address of their tunnel,
    "" for one that has none; ports by (dp, port)."""

    rules: dict[RuleKey, tuple[int, bytes]]
    skips: dict[tuple[int, int], int]
    ports: dict[tuple[int, int], tuple[int, ...]]
    ports_chassis: dict[tuple[int, int], bytes]
    groups: dict[tuple[int, int], tuple[tuple[int, ...], tuple[bytes, ...]]]
    devices: dict[tuple[int, int], tuple[int, int]]
    sets: dict[tuple[int, int, tuple[int, ...]], tuple[int, ...]]


class Reader:
    """Reads the maps behind `fds` (by name)."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._fds = fds
        self._mapped: dict[str, mmap.mmap] = {}

    def close(self) -> None:
        """Unmaps what was read."""
        for each in self._mapped.values():
            each.close()

    def view(self, generation: int) -> View:
        """What a packet that entered with `generation` can find."""
        rules, skips = self._rules(generation)
        ports: dict[tuple[int, int], tuple[int, ...]] = {}
        chassis: dict[tuple[int, int], bytes] = {}
        for port in self._alive("ovn_port_idx", "ovn_ports", "struct ovn_port", generation):
            where = port.key.dp, port.key.port
            assert self._dp(port.dp_index) == port.key.dp
            ports[where] = (
                port.kind,
                port.flags,
                port.ifindex,
                port.vlan,
                port.ct_zone,
                port.peer_dp,
                port.peer_port,
            )
            chassis[where] = self.remote(port.chassis)
        groups = {
            (group.key.dp, group.key.port): self._members(group)
            for group in self._alive("ovn_mc_idx", "ovn_mcgroups", "struct ovn_mcgroup", generation)
        }
        return View(
            rules, skips, ports, chassis, groups, self._devices(generation), self._sets(generation)
        )

    def generation(self) -> int:
        """What a packet that enters now obeys."""
        return int(self._element("ovn_ctl", "struct ovn_ctl", 0).generation)

    def remote(self, index: int) -> bytes:
        """Remote address of a chassis, b"" if there is no tunnel to it."""
        if not index:
            return b""
        chassis = self._element("ovn_chassis", "struct ovn_chassis", index)
        tunnel = chassis.t[chassis.live & 1]
        return bytes(tunnel.remote) if tunnel.flags & lib.OVN_TUN_VALID else b""

    def peers(self) -> dict[bytes, bytes]:
        """Underlay address -> remote address of the chassis it stands for."""
        entries = HashMap("ovn_peers", self._fds["ovn_peers"]).dump()
        return {address: self.remote(index) for address, index in entries.items()}

    def zones(self) -> dict[int, tuple[int, int]]:
        """Datapath -> (dnat_zone, snat_zone)."""
        all_of = self._array("ovn_datapaths", "struct ovn_datapath")
        return {d.key: (d.dnat_zone, d.snat_zone) for d in all_of if d.key}

    # --- rules ------------------------------------------------------------------

    def _rules(
        self, generation: int
    ) -> tuple[dict[RuleKey, tuple[int, bytes]], dict[tuple[int, int], int]]:
        rules: dict[RuleKey, tuple[int, bytes]] = {}
        skips: dict[tuple[int, int], int] = {}
        listed: dict[tuple[int, int], Any] = {}  # lines by (stage, mask)
        stages = self._array("ovn_stages", "struct ovn_stage")
        for index, dp in self._datapaths().items():
            for table in range(lib.OVN_STAGES_PER_DP):
                stage = index * lib.OVN_STAGES_PER_DP + table
                version = self._version(stages[stage], generation)
                if version is None:
                    continue
                listed.update(((stage, line.mask), line) for line in self._tuples(version))
                if version.skip_to:
                    skips[dp, table] = version.skip_to
                if version.default_rule:
                    found = self._element("ovn_rules_s", "struct ovn_rule_s", version.default_rule)
                    assert _alive(found.rule.slot, generation)
                    rules[dp, table, (), ()] = self._rule(found.rule)
        for size in "sml":
            kind = f"struct ovn_rule_{size}"
            names = f"ovn_idx_{size}", f"ovn_rules_{size}"
            for found in self._alive(*names, kind, generation, "rule"):
                mask = self._mask(found.key.mask)
                where = divmod(found.key.stage, lib.OVN_STAGES_PER_DP)
                values = tuple(found.key.w[i] for i in range(len(mask)))
                line = listed.get((found.key.stage, found.key.mask))
                assert line is not None, "packets would not find it"
                asked = {
                    word: (bits, value) for (word, bits), value in zip(mask, values, strict=True)
                }
                guard = asked.get(line.word, (0, 0)) if line.bits else (0, 0)
                assert guard == (line.bits, line.value), "packets would pass it by"
                rules[self._dp(where[0]), where[1], mask, values] = self._rule(found.rule)
        return rules, skips

    def _tuples(self, version: Any) -> list[Any]:
        """A stage's masks; the list must fall in priority and name none twice."""
        tuples = self._array("ovn_tuples", "struct ovn_tuple")
        lines = [tuples[version.first + i] for i in range(version.n_tuples)]
        prios = [line.max_prio for line in lines]
        masks = [line.mask for line in lines]
        assert prios == sorted(prios, reverse=True)
        assert len(set(masks)) == len(masks) and 0 not in masks
        return lines

    @staticmethod
    def _version(stage: Any, generation: int) -> Any:
        born = [v for v in stage.v if 0 < v.born <= generation]
        return max(born, key=lambda v: v.born, default=None)

    def _rule(self, rule: Any) -> tuple[int, bytes]:
        insns = self._array("ovn_insns", "struct ovn_insn")
        end = at = rule.pc
        assert at
        while True:
            insn = insns[at]
            end = at = at + 1
            if insn.op == lib.OP_END:
                return rule.prio, bytes(ffi.buffer(insns[rule.pc : end]))
            if insn.op == lib.OP_CLONE:
                at += insn.a

    def _mask(self, index: int) -> tuple[tuple[int, int], ...]:
        mask = self._element("ovn_masks", "struct ovn_mask", index)
        sizes = lib.OVN_CLASS_S, lib.OVN_CLASS_M, lib.OVN_CLASS_L
        assert mask.n <= sizes[mask.key_class]
        assert not any(mask.mask[i] or mask.word[i] for i in range(mask.n, lib.OVN_CLASS_L))
        # A set's number lies in OW_TMP and up while the program tries the mask.
        tried = {lib.OW_TMP + i: lib.OW_SETS + mask.set[i] for i in range(mask.n_sets)}
        words = [tried.get(mask.word[i], mask.word[i]) for i in range(mask.n)]
        assert tried.keys() <= {mask.word[i] for i in range(mask.n)}
        return tuple((word, mask.mask[i]) for i, word in enumerate(words))

    # --- sets -------------------------------------------------------------------

    def _sets(self, generation: int) -> dict[tuple[int, int, tuple[int, ...]], tuple[int, ...]]:
        found = {}
        tried = {lib.OVN_SET_PORT: [0]}
        for each in (lib.OVN_SET_L4, lib.OVN_SET_MAC, lib.OVN_SET_IP4, lib.OVN_SET_IP6):
            plens = self._element("ovn_set_plens", "struct ovn_set_plens", each)
            tried[each] = list(plens.plen[0 : plens.n])
        kind = "struct ovn_set_list"
        for member in self._alive("ovn_set_idx", "ovn_sets", kind, generation):
            assert member.key.plen in tried[member.key.kind], "packets would not try it"
            ids = list(member.ids[0 : member.n])
            more = member.more
            while more:
                rest = self._element("ovn_sets", kind, more)
                ids += list(rest.ids[0 : rest.n])
                more = rest.more
            found[member.key.kind, member.key.plen, tuple(member.key.v)] = tuple(ids)
        return found

    # --- ports and groups -----------------------------------------------------------

    def _members(self, group: Any) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        assert self._dp(group.dp_index) == group.key.dp
        data = self._memory("ovn_members")
        words = memoryview(data).cast("I")[::2]  # array elements lie 8 bytes apart
        first, middle = group.first, group.first + group.n_local
        local = tuple(words[i] for i in range(first, middle))
        remote = tuple(self.remote(words[i]) for i in range(middle, middle + group.n_remote))
        return local, remote

    def _devices(self, generation: int) -> dict[tuple[int, int], tuple[int, int]]:
        found = {}
        for key, head in HashMap("ovn_ifports", self._fds["ovn_ifports"]).dump().items():
            device = tuple(memoryview(key).cast("I"))
            for port in self._chain("ovn_ports", "struct ovn_port", head):
                if port.kind != lib.OVN_PORT_VIF or (port.ifindex, port.vlan) != device:
                    break
                if _alive(port.slot, generation):
                    found[device[0], device[1]] = (port.key.dp, port.key.port)
                    break
        return found

    # --- maps -----------------------------------------------------------------------

    def _alive(
        self, index: str, array: str, kind: str, generation: int, inner: str = ""
    ) -> Iterator[Any]:
        """The version of every key that lives in `generation`."""
        for key, head in HashMap(index, self._fds[index]).dump().items():
            for element in self._chain(array, kind, head, inner):
                assert bytes(ffi.buffer(ffi.addressof(element.key))) == key
                if _alive(getattr(element, inner).slot if inner else element.slot, generation):
                    yield element
                    break

    def _chain(self, array: str, kind: str, head: int, inner: str = "") -> Iterator[Any]:
        hops = 0
        while head:
            assert hops < 4, "the program follows no more"
            element = self._element(array, kind, head)
            yield element
            head = (getattr(element, inner).slot if inner else element.slot).next
            hops += 1

    def _datapaths(self) -> dict[int, int]:
        all_of = self._array("ovn_datapaths", "struct ovn_datapath")
        return {i: d.key for i, d in enumerate(all_of) if d.key}

    def _dp(self, index: int) -> int:
        key: int = self._element("ovn_datapaths", "struct ovn_datapath", index).key
        assert key
        return key

    def _element(self, name: str, kind: str, index: int) -> Any:
        stride = (ffi.sizeof(kind) + 7) & ~7
        data = self._memory(name)[index * stride : index * stride + ffi.sizeof(kind)]
        copy = ffi.new(f"{kind} *")
        ffi.memmove(copy, data, len(data))
        return copy[0]

    def _array(self, name: str, kind: str) -> Any:
        """Only for elements whose size is a multiple of 8."""
        assert ffi.sizeof(kind) % 8 == 0
        return ffi.from_buffer(f"{kind}[]", self._memory(name))

    def _memory(self, name: str) -> mmap.mmap:
        if name not in self._mapped:
            info = map_info(self._fds[name])
            length = info.max_entries * ((info.value_size + 7) & ~7)
            self._mapped[name] = mmap.mmap(self._fds[name], length, prot=mmap.PROT_READ)
        return self._mapped[name]


def _alive(slot: Any, generation: int) -> bool:
    return bool(0 < slot.born <= generation < slot.dead)
