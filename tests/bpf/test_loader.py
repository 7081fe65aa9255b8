# SPDX-License-Identifier: Apache-2.0
"""Loading, pinning, adoption and replacement of the data plane in a real kernel."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

import build
from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import attach, inherit, libbpf, probe
from ovn_bpf_controller.datapath.attach import Attachments, Tcx
from ovn_bpf_controller.datapath.clsact import Clsact
from ovn_bpf_controller.datapath.libbpf import BpfObject
from ovn_bpf_controller.datapath.loader import OBJECT, Plane, pin_name
from ovn_bpf_controller.datapath.maps import map_info, pinned
from ovn_bpf_controller.datapath.programs import OWN
from ovn_bpf_controller.errors import DataPlaneError, StartupError
from tests.support.kernel import Kernel, private_kernel

SMALL: dict[str, int] = {}  # as compiled


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


def program_ids(plane: Plane) -> dict[str, int]:
    return {name: program_id(fd) for name, fd in plane.programs.items()}


def program_id(fd: int) -> int:
    info: Any = ffi.new("struct ovn_prog_info *")
    assert lib.ovn_prog_info(fd, info) == 0
    return int(info.id)


def other_build(directory: Path) -> Path:
    """The same object as another build would leave it: other bytes."""
    copy = directory / "ovn.o"
    copy.write_bytes(OBJECT.read_bytes() + b"\0")
    return copy


def test_a_second_agent_gets_the_same_maps_and_programs(kernel: Kernel) -> None:
    first = Plane("hv1", sizes=SMALL)
    assert not first.adopted
    ids = {name: map_info(fd).id for name, fd in first.maps.items()}
    programs = program_ids(first)
    first.close()
    second = Plane("hv1", sizes=SMALL)
    assert second.adopted
    assert {name: map_info(fd).id for name, fd in second.maps.items()} == ids
    assert program_ids(second) == programs
    second.close()


def test_two_instances_share_nothing(kernel: Kernel) -> None:
    one, two = Plane("hv1", sizes=SMALL), Plane("hv2", sizes=SMALL)
    ids = [{map_info(fd).id for fd in plane.maps.values()} for plane in (one, two)]
    assert not ids[0] & ids[1]
    one.close()
    two.close()


def test_sizes_are_set_before_loading(kernel: Kernel) -> None:
    plane = Plane("hv1", sizes={"ovn_ports": 77})
    assert map_info(plane.maps["ovn_ports"]).max_entries == 77
    plane.close()


def test_another_build_keeps_maps_and_replaces_programs(kernel: Kernel, tmp_path: Path) -> None:
    device, _ = kernel.veth("a", "b")
    first = Plane("hv1", sizes=SMALL)
    links = Attachments(first, Tcx(first))
    links.set_wanted([(device, "ovn_vif")])
    assert links.reconcile()
    old = program_ids(first)
    maps = {name: map_info(fd).id for name, fd in first.maps.items()}
    first.close()
    second = Plane("hv1", sizes=SMALL, source=other_build(tmp_path))
    assert {name: map_info(fd).id for name, fd in second.maps.items()} == maps
    new = program_ids(second)
    assert not set(new.values()) & set(old.values())
    assert attached_program(second, device) == new["ovn_vif"]
    Attachments(second)
    assert len(list(second.directory.glob("programs-*"))) == 1
    second.close()


def test_a_build_with_other_scratch_memory_replaces_the_programs(
    kernel: Kernel, tmp_path: Path
) -> None:
    csrc = build.ROOT / "csrc"
    shutil.copytree(csrc / "bpf", tmp_path / "bpf")
    bounds = tmp_path / "bpf/bounds.h"
    text, changed = re.subn(r"(OVN_MAX_SAVED) 16", r"\1 8", bounds.read_text())
    assert changed
    bounds.write_text(text)
    shutil.copy(csrc / "ovn.bpf.c", tmp_path)
    build.clang(tmp_path / "ovn.bpf.c", tmp_path / "ovn.o")
    Plane("hv1", sizes=SMALL).close()
    second = Plane("hv1", sizes=SMALL, source=tmp_path / "ovn.o")
    assert second.adopted
    fds = [pinned(path) for path in second.directory.glob("programs-*/ovn_scratch")]
    assert len({map_info(fd).value_size for fd in fds}) == 2
    for fd in fds:
        os.close(fd)
    second.close()


def attached_program(plane: Plane, ifindex: int) -> int:
    fd = pinned(plane.links / f"{ifindex}-ovn_vif")
    info: Any = ffi.new("struct ovn_link_info *")
    assert lib.ovn_link_info(fd, info) == 0
    os.close(fd)
    return int(info.prog_id)


def test_another_layout_takes_the_links_over_when_it_is_told(kernel: Kernel) -> None:
    device, _ = kernel.veth("a", "b")
    first = Plane("hv1", sizes=SMALL)
    links = Attachments(first, Tcx(first))
    links.set_wanted([(device, "ovn_vif")])
    links.reconcile()
    old = program_ids(first)["ovn_vif"]
    first.close()
    second = Plane("hv1", sizes={"ovn_ports": 2048})
    assert not second.adopted
    links = Attachments(second, Tcx(second))
    links.set_wanted([(device, "ovn_vif")])
    links.reconcile()
    assert not links.attached(), "two programs would each want the packet"
    links.supersede()
    assert links.attached() == {(device, "ovn_vif")}
    assert attached_program(second, device) == program_ids(second)["ovn_vif"] != old
    assert second.older() == []
    second.close()


INHERITED = (*inherit.TRACKER, *inherit.LEARNT)


def inherited_ids(plane: Plane) -> dict[str, int]:
    return {name: map_info(plane.maps[name]).id for name in INHERITED}


def test_connections_and_what_was_learnt_pass_to_another_layout(kernel: Kernel) -> None:
    first = Plane("hv1", sizes=SMALL)
    others = {map_info(fd).id for name, fd in first.maps.items() if name not in INHERITED}
    ids = inherited_ids(first)
    first.close()
    second = Plane("hv1", sizes={"ovn_ports": 2048})
    assert not second.adopted and inherited_ids(second) == ids
    assert not others & {map_info(fd).id for fd in second.maps.values()}
    second.supersede()
    second.close()
    third = Plane("hv1", sizes={"ovn_ports": 2048})
    assert third.adopted and inherited_ids(third) == ids
    third.close()


@pytest.mark.parametrize("marker", ["ct", "learnt"])
def test_maps_of_another_make_are_left_behind(kernel: Kernel, marker: str) -> None:
    first = Plane("hv1", sizes=SMALL)
    before = inherited_ids(first)
    for path in first.directory.glob(f"{marker}-*"):
        path.rmdir()
    first.close()
    second = Plane("hv1", sizes={"ovn_ports": 2048})
    left = {"ct": set(inherit.TRACKER), "learnt": set(inherit.LEARNT)}[marker]
    after = inherited_ids(second)
    assert {name for name in INHERITED if before[name] != after[name]} == left
    second.close()


def test_connections_of_another_size_are_left_behind(kernel: Kernel) -> None:
    first = Plane("hv1", sizes=SMALL)
    before = inherited_ids(first)
    first.close()
    second = Plane("hv1", sizes={"ovn_conns": 2048})
    after = inherited_ids(second)
    assert {name for name in INHERITED if before[name] != after[name]} == set(inherit.TRACKER)
    second.close()


def test_remove_leaves_no_pin(kernel: Kernel) -> None:
    device, _ = kernel.veth("a", "b")
    plane = Plane("hv.1/x", sizes=SMALL)
    links = Attachments(plane, Tcx(plane))
    links.set_wanted([(device, "ovn_vif")])
    links.reconcile()
    plane.remove()
    assert not (kernel.bpffs / "ovn-bpf").exists()


def test_killed_while_pinning_starts_afresh(kernel: Kernel) -> None:
    plane = Plane("hv1", sizes=SMALL)
    (plane.directory / "maps").rename(plane.directory / "maps-part")
    plane.close()
    again = Plane("hv1", sizes=SMALL)
    assert not again.adopted
    assert not (again.directory / "maps-part").exists()
    again.close()


@pytest.mark.parametrize("kind", [Tcx, Clsact])
class TestHooks:
    def test_attach_and_detach(self, kernel: Kernel, kind: type[Tcx] | type[Clsact]) -> None:
        a, b = kernel.veth("a", "b")
        plane = Plane("hv1", sizes=SMALL)
        links = Attachments(plane, kind(plane))
        links.set_wanted([(a, "ovn_vif"), (b, "ovn_underlay")])
        assert links.reconcile()
        assert links.attached() == {(a, "ovn_vif"), (b, "ovn_underlay")}
        assert not links.reconcile()
        links.set_wanted([(b, "ovn_underlay")])
        assert not links.reconcile(keep=True)
        assert links.reconcile()
        assert links.attached() == {(b, "ovn_underlay")}
        plane.close()

    def test_attachments_outlive_the_agent(
        self, kernel: Kernel, kind: type[Tcx] | type[Clsact]
    ) -> None:
        a, _ = kernel.veth("a", "b")
        plane = Plane("hv1", sizes=SMALL)
        links = Attachments(plane, kind(plane))
        links.set_wanted([(a, "ovn_vif")])
        links.reconcile()
        plane.close()
        plane = Plane("hv1", sizes=SMALL)
        assert kind(plane).attached() == {(a, "ovn_vif")}
        plane.close()

    def test_a_device_made_anew_is_attached_again(
        self, kernel: Kernel, kind: type[Tcx] | type[Clsact]
    ) -> None:
        a, _ = kernel.veth("a", "b")
        plane = Plane("hv1", sizes=SMALL)
        links = Attachments(plane, kind(plane))
        links.set_wanted([(a, "ovn_vif")])
        links.reconcile()
        kernel.delete("a")
        assert links.attached() == set()
        assert not links.reconcile()
        assert links.failed.keys() == {(a, "ovn_vif")}
        new, _ = kernel.veth("a", "b")
        links.set_wanted([(new, "ovn_vif")])
        assert links.reconcile()
        assert links.attached() == {(new, "ovn_vif")}
        plane.close()


def test_this_kernel_is_asked_for_tcx(kernel: Kernel) -> None:
    plane = Plane("hv1", sizes=SMALL)
    assert isinstance(attach.best_hook(plane), Tcx)
    plane.close()


def test_a_directory_that_is_no_bpffs_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=f"{tmp_path} is no bpf file system"):
        Plane("hv1", bpffs=tmp_path, sizes=SMALL)


def test_a_kernel_without_the_helper_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    probe.require_kernel()
    monkeypatch.setattr(libbpf, "BPF_LOOP", 100_000)  # a helper that no kernel has
    release = re.escape(platform.release())
    with pytest.raises(StartupError, match=rf"^kernel {release} lacks the BPF helper bpf_loop"):
        probe.require_kernel()


def test_a_broken_object_is_one_error_with_the_cause(kernel: Kernel, tmp_path: Path) -> None:
    broken = tmp_path / "ovn.o"
    broken.write_bytes(b"\x7fELF but not really")
    with pytest.raises(DataPlaneError, match=r"ovn\.o cannot be opened"):
        Plane("hv1", sizes=SMALL, source=broken)


def test_what_the_verifier_says_is_told(kernel: Kernel, tmp_path: Path) -> None:
    source = tmp_path / "wrong.bpf.c"
    source.write_text(
        "#include <linux/bpf.h>\n"
        "#include <bpf/bpf_helpers.h>\n"
        'char LICENSE[] SEC("license") = "GPL";\n'
        'SEC("tc") int wrong(struct __sk_buff *skb)\n'
        "{ return *(char *)(long)skb->data; }\n"
    )
    build.clang(source, tmp_path / "wrong.o")
    with pytest.raises(DataPlaneError) as raised:
        Plane("hv1", sizes=SMALL, source=tmp_path / "wrong.o")
    assert "the kernel refuses wrong.o: Permission denied" in str(raised.value)
    assert "invalid access to packet" in str(raised.value)
    assert not any((kernel.bpffs / "ovn-bpf").rglob("maps"))


def test_a_qdisc_that_somebody_took_away_comes_back(kernel: Kernel) -> None:
    device, _ = kernel.veth("a", "b")
    plane = Plane("hv1", sizes=SMALL)
    links = Attachments(plane, Clsact(plane))
    links.set_wanted([(device, "ovn_vif")])
    links.reconcile()
    with IPRoute() as netlink:
        netlink.tc("del", "clsact", device)
    assert links.attached() == set()
    assert links.reconcile()
    assert links.attached() == {(device, "ovn_vif")}
    plane.close()


@pytest.mark.parametrize("name", ["hv1", "host.example.org", "a/b", "", "ä", "x" * 200])
def test_pin_names_are_accepted_by_bpffs(kernel: Kernel, name: str) -> None:
    (kernel.bpffs / pin_name(name)).mkdir()


def test_pin_names_differ_when_instances_do() -> None:
    names = ["a.b", "a/b", "a_b", "a-b"]
    assert len({pin_name(name) for name in names}) == len(names)


def test_a_program_is_loaded_when_it_is_asked_for(kernel: Kernel) -> None:
    first = Plane("hv1", sizes=SMALL)
    pins = first.programs.directory
    early = {"ovn_vif", "ovn_underlay", "ovn_tunnel", "ovn_resume", "ovn_trace"}
    early |= {"ovn_run", "ovn_ct_flush", "ovn_ct_start"}
    assert {path.name for path in pins.iterdir()} == early | OWN
    serve = program_id(first.programs["ovn_serve"])
    assert {path.name for path in pins.iterdir()} == early | OWN | {"ovn_serve"}
    assert set(first.programs) == early | {"ovn_serve"}
    first.close()
    second = Plane("hv1", sizes=SMALL)
    assert program_id(second.programs["ovn_serve"]) == serve
    with pytest.raises(KeyError):
        second.programs["ovn_nothing"]
    second.close()


def test_programs_of_two_builds_are_not_mixed(kernel: Kernel, tmp_path: Path) -> None:
    source = tmp_path / "ovn.o"
    source.write_bytes(OBJECT.read_bytes())
    plane = Plane("hv1", sizes=SMALL, source=source)
    other_build(tmp_path)
    with pytest.raises(DataPlaneError, match="is another build"):
        plane.programs["ovn_serve"]
    plane.close()


def test_signals_during_verification_are_outlived(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = BpfObject.load
    results: list[bool] = []

    def load(self: BpfObject) -> bool:
        if not results:  # libbpf tries five times by itself, at each of which one comes
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        results.append(real(self))
        signal.setitimer(signal.ITIMER_REAL, 0)
        return results[-1]

    monkeypatch.setattr(BpfObject, "load", load)
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        plane = Plane("hv1", sizes=SMALL)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert results == [False, True]
    assert program_id(plane.programs["ovn_vif"])
    plane.close()
