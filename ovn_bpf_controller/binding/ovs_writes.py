# SPDX-License-Identifier: Apache-2.0
"""The local database as the engine uses it, and what it writes there, as plain data.

bridge.py and ovs_ports.py fill LocalWrites, the engine hands them over, snapshot.py
carries them to the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ovn_bpf_controller.binding.view import LocalView, OvsPort
from ovn_bpf_controller.plaindata import dataclass, field


@dataclass(frozen=True, slots=True)
class PortWish:
    """A Port with one Interface that should be on `bridge` (a uuid), or not.

    old: the Port that has this place now.  external_ids: the Port's, all of them.
    """

    bridge: str
    name: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    old: OvsPort | None = None
    remove: bool = False

    @property
    def fulfilled(self) -> bool:
        """Nothing needs to be written; more external_ids do no harm."""
        old = self.old
        return (
            old is not None and old.single and (old.type, old.options) == (self.type, self.options)
        )


@dataclass(slots=True)
class LocalWrites:
    """Changes to the local database; a value None removes the key.

    create_bridge: columns of a new bridge's other_config, None for no creation.
    other_config: keys of the Open_vSwitch row's.  datapath: the datapath type that
    lacks a row of Datapath, or "".
    """

    create_bridge: dict[str, str] | None = None
    bridge: dict[str, str] = field(default_factory=dict)
    bridge_ids: dict[str, str | None] = field(default_factory=dict)
    iface_ids: dict[str, dict[str, str | None]] = field(default_factory=dict)
    other_config: dict[str, str | None] = field(default_factory=dict)
    datapath: str = ""
    ports: list[PortWish] = field(default_factory=list)

    def __bool__(self) -> bool:
        filled = self.bridge or self.bridge_ids or self.iface_ids or self.other_config
        return self.create_bridge is not None or bool(filled or self.datapath or self.ports)


class LocalSide(Protocol):
    """The local database as the engine uses it; snapshot.py implements it."""

    def view(self, bridge: str) -> LocalView:
        """The rows as they are now; the same object while nothing has changed.

        bridge: name of the integration bridge.
        """

    @property
    def connected(self) -> bool:
        """Can it be written now?"""

    def write(self, writes: LocalWrites) -> None:
        """Send, unless a write is in flight: wishes come again."""

    def wait(self, poller: Any) -> None:
        """Wake the poller when write() would send what it held back."""
