# SPDX-License-Identifier: Apache-2.0
"""The agent: databases, binding, flow compiler and data plane, wired together.

process.main_loop runs it.  Each iteration carries what changed in the databases
through binding and the compiler to one flip of the tables, and tells binding
what is live.  Until everything local has been read once (Desired.complete)
nothing is written: what an earlier agent left in the kernel goes on as it is.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ovn_bpf_controller import observe, sizing
from ovn_bpf_controller.acl_log import AclLog
from ovn_bpf_controller.ageing import Ageing
from ovn_bpf_controller.answering import Answering
from ovn_bpf_controller.attaching import Attaching
from ovn_bpf_controller.binding.desired import Desired, diff
from ovn_bpf_controller.binding.engine import Binding
from ovn_bpf_controller.binding.snapshot import LocalAdapter
from ovn_bpf_controller.compile.problems import Problem
from ovn_bpf_controller.compile.store import RuleChanges
from ovn_bpf_controller.datapath import leftovers
from ovn_bpf_controller.datapath.conntrack import Conntrack
from ovn_bpf_controller.datapath.events import LOGS, Events
from ovn_bpf_controller.datapath.learnt import Learnt, Used
from ovn_bpf_controller.datapath.loader import Plane, sizes
from ovn_bpf_controller.datapath.meters import Meters
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.duties.duty import View
from ovn_bpf_controller.errors import DatabaseError, DataPlaneError, StartupError
from ovn_bpf_controller.guest_news import GuestNews
from ovn_bpf_controller.installation import SLICE_SECONDS, Installation
from ovn_bpf_controller.learning import Learning
from ovn_bpf_controller.learnt import LearntState
from ovn_bpf_controller.logical import LogicalFlows
from ovn_bpf_controller.metering import Metering
from ovn_bpf_controller.observe.engine import Engine
from ovn_bpf_controller.observe.jobs import Jobs
from ovn_bpf_controller.observe.metrics_server import MetricsServer
from ovn_bpf_controller.ovsdb import tls
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.local_tables import SSL, FlowSampleCollectorSet
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import SBGlobal
from ovn_bpf_controller.process.crash import crash_point
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.options import Options
from ovn_bpf_controller.process.stopwatch import timed
from ovn_bpf_controller.process.unixctl import Commands
from ovn_bpf_controller.serving import Serving
from ovn_bpf_controller.tracking import Tracking
from ovn_bpf_controller.tunnelling import Tunnelling
from ovn_bpf_controller.underlay.route import KernelUnderlay
from ovn_bpf_controller.vswitch.service import VswitchService

_log = Logger("main")
_rate = RateLimit(5, 5)
_flow_rate = RateLimit(60, 60)

LOOK_SECONDS = 0.1  # between looks at everything else meanwhile


class Agent:
    """One chassis.  Raises StartupError when the kernel lacks something."""

    def __init__(self, options: Options) -> None:
        self._tls = options.tls
        self._tls_files: tls.TlsFiles | None = None
        self._configure_tls(None)
        self._settle_tls()
        try:
            self._database = LocalDatabase(options.ovs_remote)
        except DatabaseError as error:
            raise StartupError(str(error)) from error
        self._instance = options.dirs.instance
        room = sizing.connections(self._database, self._instance, options.chassis or None)
        self._size_notice = sizing.Notice(room)
        self.plane = Plane(self._instance, sizes=sizes(room), grows=True)
        self.southbound = SouthboundCache([])
        self.flows = LogicalFlows(self.southbound)
        self._installation = Installation(self.plane, self.flows.compiler)
        if self.plane.adopted:
            _log.info("took over the data plane that an earlier agent left")
        self.conntrack = Conntrack(self.plane.maps, self.plane.programs)
        self._start_timer()
        learnt = Learnt(self.plane.maps)
        self._learnt = LearntState(learnt)
        self._underlay = KernelUnderlay()
        self.devices = self._underlay.links
        self._tunnelling = Tunnelling(self.tables, self._underlay.links)
        self._attaching = Attaching(self.plane, self._tunnelling)
        self._tracking = Tracking(self.conntrack, self.southbound)
        self.metering = Metering(Meters(self.plane.maps), self.southbound)
        self.acl_log = AclLog(Events(LOGS, self.plane.maps[LOGS]))
        self.jobs = Jobs()
        pidfile = Path(options.dirs.ovs_rundir, "ovs-vswitchd.pid")
        self._vswitch = VswitchService(self._database, self._underlay.links, pidfile)
        self.binding = Binding(
            self.southbound,
            LocalAdapter(self._database, self._underlay),
            self._underlay,
            options.chassis or None,
            on_zones_moved=self._tracking.zones_moved,
        )
        self._guests = GuestNews(self.binding, self.southbound)
        self._learning = Learning(self.plane.maps, learnt, self.southbound, self._guests)
        self._ageing = Ageing(Used(self.plane.maps["ovn_mac_used"]), learnt, self.southbound)
        pidfile = Path(options.dirs.ovn_rundir, "ovn-slowpath.pid")
        self.serving = Serving(self.plane)
        self.answering = Answering(self.plane, pidfile, self.southbound)
        self.engine = Engine()
        self._metrics = MetricsServer(self._families)
        self.desired = Desired()
        self._busy = False
        self._look_at = 0.0
        self._cleaned = False

    # --- process.main_loop.AgentProtocol --------------------------------------

    @property
    def ready(self) -> bool:
        """The data plane is loaded; databases may come later."""
        return True

    @property
    def live(self) -> bool:
        """See AgentProtocol."""
        return (self._installation.lived and self._attaching.lived) or (
            self._database.synced and not self.binding.config.complete
        )

    @property
    def state(self) -> str:
        """See AgentProtocol."""
        if not self._database.synced:
            return "Waiting for the local Open_vSwitch database"
        if not self.binding.config.complete:
            return "Not configured: external_ids of Open_vSwitch say no chassis or Southbound"
        if not self.southbound.connected:
            rest = (
                ", the data plane goes on" if self._installation.lived or self.plane.adopted else ""
            )
            return f"Waiting for the Southbound{rest}"
        if self.live:
            return "Running"
        installation = self._installation
        doing = "attaching to devices" if installation.lived else installation.doing
        return f"Loading: {doing}" if doing else "Loading"

    def register(self, commands: Commands) -> None:
        """See AgentProtocol."""
        observe.register(commands, self)

    def run(self) -> None:
        """See AgentProtocol."""
        now = time.monotonic()
        if not self._busy:
            self._installation.woke()
        news = self._database.run()
        self._configure_tls(self._database.ssl)
        changes = self.southbound.run()
        self._attaching.collect()
        # In the middle of a load everything else is looked at now and then.
        if news or changes or not self._busy or now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._follow(changes)
        self._go_on()
        self.acl_log.run(self.flows.compiler.uses)
        self.jobs.run()
        self._metrics.run(self.binding.config.metrics)

    def _families(self) -> Iterable[Any]:
        from ovn_bpf_controller.observe import metrics  # with its library, when asked for

        return metrics.families(self)

    def _follow(self, changes: Changes) -> None:
        """Take over what is different."""
        self._vswitch.run()
        with timed("if-status-mgr-run"):
            ipsec = any(row.ipsec for row in self.southbound.table(SBGlobal).values())
            desired = self._tunnelling.without_clear_text(self.binding.run(changes), ipsec)
        delta = diff(self.desired, desired)
        with timed("flow-generation"):
            collectors = self._database.table(FlowSampleCollectorSet)
            self.flows.follow_collectors(frozenset(row.id for row in collectors.values()))
            self.flows.follow(changes, desired, delta)
        self._count(delta, RuleChanges())
        self.desired = desired
        self._learnt.note(changes, delta)
        self._learning.note(changes)
        self._ageing.note(changes, delta)
        self.answering.note(changes, delta)
        self.metering.note(changes)
        if desired.complete:
            self._size_notice.look(self.binding.config)
        self._tracking.changed(changes, self.flows.template_vars())

    def _go_on(self) -> None:
        """Compile and write what is due, a slice of it at most."""
        desired, compiler = self.desired, self.flows.compiler
        with timed("flow-generation"):
            compiled = not self._installation.busy and compiler.work(SLICE_SECONDS)
            rules = compiler.flush() if compiled and desired.complete else None
        self._count(None, rules or RuleChanges())
        self._tell_problems()
        if rules is not None:
            self._follow_meters(live=False)
        view = View(self.southbound, desired, self.binding.config)
        # The slow path hears what it must know before packets need it; all the rest waits
        # until they obey what changed.
        first = self.answering.behind(compiler, view, compiled)
        if first:
            self.answering.run(compiler, view, compiled)
        with timed("flow-installation"):
            live = self._make_live(desired, rules) if desired.complete else None
        self._busy = not compiled or self._installation.busy
        if not first:
            self.answering.run(compiler, view, compiled)
        if desired.complete:
            self._tell_learnt(desired)
        if live is not None:
            self._tracking.live(live)
            self._follow_meters(live=True)
            self._follow_learnt(live)
            self.serving.run(self.answering.told, self.flows.compiler, live)
            if self.answering.settled:
                self.plane.forget_outgrown()
                crash_point("acknowledging")
                attaching = self._attaching
                self.binding.acknowledge(live.seq, attaching.attached(live.seq), attaching.unready)

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        self._database.wait(poller)
        if self._busy:
            poller.immediate_wake()
        if not self.tables.settled:
            poller.fd_wait(self.tables.fileno(), select.POLLIN)
        self._attaching.wait(poller)
        self._vswitch.wait(poller)
        self.southbound.wait(poller)
        self.binding.wait(poller)
        self.answering.wait(poller)
        self.acl_log.wait(poller)
        self.jobs.wait(poller)
        self._metrics.wait(poller)
        self._tracking.wait(poller)
        if self.desired.complete:
            self._learning.wait(poller)
            self._guests.wait(poller)
            self._ageing.wait(poller)
            waiting = self._installation.incomplete
            due = self._installation.retry_at if waiting else self._attaching.due
            poller.timer_wait_until(int(due * 1000))

    def stop(self, restart: bool) -> bool:
        """See AgentProtocol."""
        self._database.run()
        changes = self.southbound.run()
        self._attaching.collect()
        if not restart and not self._cleaned:
            self._cleaned = self.binding.cleanup(changes)
            if not self._cleaned:
                return False
            self._tunnelling.remove()
        self._attaching.close()
        self._metrics.close()
        self.answering.stop(restart)
        self._vswitch.stop()
        self._database.close()
        self.southbound.close()
        self._installation.stop()
        self._learning.close()
        self.conntrack.close()
        self.acl_log.close()
        self.plane.close()
        if not restart and self.binding.config.cleanup_on_exit:
            self._vacate()
        return True

    def _vacate(self) -> None:
        """Clean exit: nothing of ours stays in the kernel."""
        try:
            leftovers.clean(self._instance)
        except (DataPlaneError, OSError) as error:
            _log.warn(f"not all of the data plane could be removed: {error}")

    @property
    def tables(self) -> Tables:
        """See observe.chassis.Chassis."""
        return self._installation.tables

    @property
    def at_rest(self) -> bool:
        """See observe.chassis.Chassis."""
        return self.desired.complete and not self._busy and not self._installation.incomplete

    def rereading(self) -> Iterator[None]:
        """See observe.chassis.Chassis."""
        yield from self._installation.rereading()
        self._tunnelling.moved(self.tables)

    def repair(self) -> None:
        """See observe.chassis.Chassis."""
        self._installation.repair()

    def _start_timer(self) -> None:
        """Without it expired connections go only when somebody looks for them."""
        try:
            self.conntrack.start()
        except DataPlaneError as error:
            _log.warn(f"{error}: expired connections may take room")

    # --- the data plane -------------------------------------------------------

    def _count(self, delta: object, rules: RuleChanges) -> None:
        installation = self._installation
        installation.incomplete |= self.engine.count(delta, rules, installation.incomplete)

    def _make_live(self, desired: Desired, rules: RuleChanges | None) -> Desired | None:
        """Carry what changed to the tables; returns what is live if nothing is under way."""
        live, changed = self._installation.run(desired, rules)
        if self._installation.crowded:
            self._grow()
        if live is None:
            return None
        self._attaching.run(live, self.binding.config.tunnel, time.monotonic())
        if changed and self._installation.just_completed:
            self.serving.run(self.answering.told, self.flows.compiler, live)
            self._attaching.supersede()
            self.answering.moved()
        return live

    def _grow(self) -> None:
        """Goes on to larger tables, as to those of another layout: packets obey the old ones
        until the new ones are complete."""
        self._attaching.hold()
        try:
            self.plane.grow()
        except DataPlaneError as error:
            self._installation.refused(error)
            self._attaching.resume()
            return
        self._installation.moved()
        self._tunnelling.moved(self.tables)
        self._learning.moved(self.plane.maps)
        self.serving.moved()
        self.conntrack.moved(self.plane.programs)
        self._start_timer()

    def _tell_learnt(self, desired: Desired) -> None:
        try:
            self._learning.run(desired)
            self._guests.run()
            self._ageing.run(desired)
        except DataPlaneError as error:
            _rate.warn(_log, f"the Southbound is not told what was learnt: {error}")

    def _follow_meters(self, live: bool) -> None:
        """live: what was compiled is; else it is about to be."""
        try:
            if live:
                self.metering.live()
            else:
                self.metering.run(self.flows.compiler.uses)
        except DataPlaneError as error:
            _rate.err(_log, f"meters are not as the Southbound says: {error}")

    def _follow_learnt(self, desired: Desired) -> None:
        try:
            self._learnt.run(desired)
        except DataPlaneError as error:
            _rate.warn(_log, f"what was learnt is not as the Southbound says: {error}")

    # --- databases ------------------------------------------------------------

    def _settle_tls(self) -> None:
        """What the SSL table has no columns for."""
        options = self._tls
        settings = tls.TlsSettings(
            options.ssl_protocols,
            options.ssl_ciphers,
            options.ssl_ciphersuites,
            options.ssl_server_name,
            options.peer_ca_cert,
        )
        tls.settle(settings)

    def _configure_tls(self, row: SSL | None) -> None:
        """The database's SSL row beats the command line (ovn-controller(8))."""
        if row is not None:
            files = tls.TlsFiles(
                row.private_key, row.certificate, row.ca_cert, row.bootstrap_ca_cert
            )
        else:
            bootstrap = self._tls.bootstrap_ca_cert
            files = tls.TlsFiles(
                self._tls.private_key,
                self._tls.certificate,
                bootstrap or self._tls.ca_cert,
                bool(bootstrap),
            )
        if files != self._tls_files:
            self._tls_files = files
            tls.configure(files)

    def _tell_problems(self) -> None:
        """Each flow that is not carried out as written, once.

        What this version lacks is no fault of the deployment's: INFO.
        """
        for news in self.flows.compiler.take_news():
            text = f"logical flow {news.uuid} ({news.stage}): {news.problem.value}: {news.what}"
            if news.problem is Problem.VERB:
                _flow_rate.info(_log, text)
            else:
                _flow_rate.warn(_log, text)
