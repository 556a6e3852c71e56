"""The composition root: builds every part, wires them, and carries the process from start to end.

Start-up order: lock and queue before any module, so that the first message has a place; the upstream connects
meanwhile and nothing waits for it. Shutdown: modules first, then what they sent is delivered or committed, then the
goodbye to the upstream.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from dataclasses import replace

import microedge
from microedge.config.discovery import scan
from microedge.config.load import find, load
from microedge.config.model import WEIGHTED, Config
from microedge.config.places import bundled_modules_dir
from microedge.config.plan import plan
from microedge.errors import ConfigError
from microedge.hub.route import Route
from microedge.hub.table import RouteTable
from microedge.identity.store import IdentityStore
from microedge.queue.queue import MessageQueue, QueueSettings, read_boot_id
from microedge.queue.turns import Rule
from microedge.supervisor.agent import Agent
from microedge.supervisor.agent_reporter import AgentReporter
from microedge.supervisor.commands import commands
from microedge.supervisor.control import ControlSocket
from microedge.supervisor.exchange import Exchange
from microedge.supervisor.fleet import Fleet
from microedge.supervisor.identities import names_in_use
from microedge.supervisor.instance import Services
from microedge.supervisor.launcher import Launcher
from microedge.supervisor.logs import LogRing, SupervisorLog
from microedge.supervisor.loop import Loop, ScheduledCall
from microedge.supervisor.notify import Notifier
from microedge.supervisor.prctl import become_subreaper, set_process_name
from microedge.supervisor.processes import Reaper
from microedge.supervisor.routing import routes_of
from microedge.supervisor.runtime import Runtime
from microedge.supervisor.state import StateDirectory
from microedge.supervisor.twins import Twins
from microedge.supervisor.wall_clock import WallClock
from microedge.supervisor.watch import DirectoryWatch
from microedge.upstream.factory import create
from microedge.upstream.settings import UpstreamSettings

log = logging.getLogger(__name__)

_SETTLE_S = 0.5  # without a change before a dropped-in directory is looked at
_RESCAN_S = 1.0  # while a directory is incomplete
_GOODBYE_S = 3.0  # for the upstream, after the modules have stopped
_COMMIT_S = 10.0  # for the card: an fsync may stall for seconds
_NOTIFY_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_NOT_ON_RELOAD = ("device", "paths", "upstream", "store")


def start(config_option: str | None, server: tuple[int, socket.socket]) -> int:
    """Load the configuration and run until told to stop; return the exit code.

    Raises:
        MicroedgeError: it cannot start.
    """
    config = load(find(config_option, os.environ, os.getcwd()))
    routes = routes_of(config)
    return App(config, server).run(routes)


class App:
    """The running supervisor."""

    def __init__(self, config: Config, server: tuple[int, socket.socket]) -> None:
        self.loop = Loop()
        self.state = StateDirectory(config.paths.state)
        self.launcher = Launcher(server, self.loop)
        self.reaper = Reaper(self.loop, lambda: self.launcher.is_spawning)
        clock = WallClock()
        exchange = Exchange(self.loop, RouteTable([], ttl_s=config.store.ttl_s), clock)
        identities = IdentityStore(config.paths.state, config.device.id, self.loop)
        twins = Twins(config.paths.state, config.device.id, self.loop, exchange)
        twins.has_upstream = config.upstream.type == "mqtt"
        services = Services(
            self.loop,
            self.launcher,
            self.reaper,
            exchange,
            config.device.id,
            self.state.data,
            generation_of=identities.generation,
            start_twin=twins.start,
            clock=clock,
        )
        self.runtime = Runtime(
            config=config,
            ring=LogRing(),
            fleet=Fleet(services),
            exchange=exchange,
            queue=MessageQueue(_queue_settings(config, self.state.queue), self.loop, exchange),
            connector=create(_upstream_settings(config), self.loop),
            identities=identities,
            twins=twins,
        )
        exchange.twins = twins
        clock.learnt = self.runtime.queue.clock_is_right
        twins.retry = self.runtime.fleet.retry
        identities.removed = twins.remove
        exchange.methods.agent = Agent(self.runtime).call
        self.reporter = AgentReporter(self.runtime, self.loop, offset_ms=clock.offset_ms)
        self.control = ControlSocket(config.paths.state, self.loop, commands(self.runtime))
        self.watch = DirectoryWatch(config.paths.modules, self.loop, self.rescan)
        self.twin_watch = DirectoryWatch(twins.directory, self.loop, twins.look, is_eager=True)
        self.notifier = Notifier(*(os.environ.get(name, "") for name in _NOTIFY_VARIABLES))
        self._rescan_timer = ScheduledCall(0.0, None)
        self._is_stopping = False
        self._is_leaving = False

    def run(self, routes: list[Route]) -> int:
        """Run until SIGTERM or SIGINT; return the exit code.

        Raises:
            MicroedgeError: the state directory, the identities or the queue cannot be used.
        """
        os.umask(0o077)  # what waits in the queue is nobody else's business
        self.state.open()
        try:
            self._open(routes)
            self.loop.run()
        finally:
            self.runtime.queue.close(_COMMIT_S)
            self.runtime.twins.close(_COMMIT_S)
            self.runtime.identities.close(_COMMIT_S)
            self.control.close()
            self.launcher.close()
            self.loop.close()
            self.state.close()
        log.info("stopped")
        return 0

    def rescan(self) -> None:
        """Look at the modules directory and bring the instances in line with it."""
        if self._is_stopping:
            return
        runtime = self.runtime
        modules_dir = runtime.config.paths.modules
        runtime.discovery = scan(modules_dir, bundled_modules_dir(), settle_s=_SETTLE_S, previous=runtime.discovery)
        before = {str(error) for error in runtime.plan.rejected}
        runtime.plan = plan(runtime.config, runtime.discovery)
        for error in runtime.plan.rejected:
            if str(error) not in before:
                log.error("%s", error)
        planned = [instance.name for instance in runtime.plan.instances]
        runtime.identities.follow(planned, names_in_use(runtime.config, runtime.discovery))
        runtime.twins.follow(runtime.plan.instances)
        runtime.fleet.apply(runtime.plan.instances)
        self._rescan_timer.cancel()
        if any(not entry.is_settled for entry in runtime.discovery.dropped_in.values()):
            self._rescan_timer = self.loop.call_later(_RESCAN_S, self.rescan)
        self.reporter.look()

    # --- Start ---

    def _open(self, routes: list[Route]) -> None:
        self._open_log()
        log.info("microedge %s on device %s: pid=%d", microedge.__version__, self.runtime.config.device.id, os.getpid())
        set_process_name("microedge")
        become_subreaper()
        os.makedirs(self.runtime.config.paths.modules, exist_ok=True)
        self.loop.open()
        self.loop.on_signal(signal.SIGCHLD, self.reaper.reap)
        for signum in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(signum, self._stop)
        self.loop.on_signal(signal.SIGHUP, self.reload)
        self.launcher.open(self.reaper)
        self.runtime.identities.open()
        self.runtime.twins.open([one.module for one in self.runtime.identities.all() if one.removed])
        self.runtime.queue.open()
        self._use_routes(routes)
        runtime = self.runtime
        runtime.exchange.open(runtime.queue, runtime.connector, has_live_lane=runtime.config.store.live_lane)
        self.control.open()
        self.watch.open()
        self.twin_watch.open()
        self.rescan()
        self.reporter.open()
        self.notifier.send("READY=1", f"STATUS=microedge on {self.runtime.config.device.id}")
        self._feed_watchdog()

    def _open_log(self) -> None:
        is_journal = "JOURNAL_STREAM" in os.environ
        root = logging.getLogger("microedge")
        root.handlers[:] = [SupervisorLog(self.runtime.ring, is_journal=is_journal)]
        root.setLevel(os.environ.get("MICROEDGE_LOG_LEVEL", "INFO").upper())
        root.propagate = False

    def _use_routes(self, routes: list[Route]) -> None:
        runtime = self.runtime
        has_upstream = runtime.connector is not None
        runtime.warnings = []
        if not has_upstream and any(not route.sink.module for route in routes):
            runtime.warnings.append(
                "[upstream] type is none: what goes INTO $upstream ends here, counted as no_upstream"
            )
        config = runtime.config
        table = RouteTable(routes, ttl_s=config.store.ttl_s, device=config.device.id, has_upstream=has_upstream)
        runtime.exchange.use_routes(table)

    def _feed_watchdog(self) -> None:
        if self.notifier.watchdog_s:
            self.notifier.send("WATCHDOG=1")
            self.loop.call_later(self.notifier.watchdog_s / 3, self._feed_watchdog)

    # --- SIGHUP ---

    def reload(self) -> None:
        """Read the configuration again. A mistake in it changes nothing; what needs a restart says so."""
        self.notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self.runtime.config_version += 1
        try:
            config = load(self.runtime.config.file)
            routes = routes_of(config)
        except ConfigError as error:
            self.runtime.refusal = str(error)
            log.error("configuration not reloaded, the running one stays: %s", error)
        else:
            self.runtime.refusal = ""
            kept = {name: getattr(self.runtime.config, name) for name in _NOT_ON_RELOAD}
            late = [name for name in _NOT_ON_RELOAD if getattr(config, name) != kept[name]]
            self.runtime.config = replace(config, **kept)
            self._use_routes(routes)
            if late:
                self.runtime.warnings.append(f"changed, but used only after a restart of microedge: {', '.join(late)}")
            log.info("configuration reloaded: %s", "; ".join(self.runtime.warnings) or "no warnings")
            self.rescan()
        self.reporter.look()
        self.notifier.send("READY=1")

    # --- Stop ---

    def _stop(self) -> None:
        if self._is_stopping:
            log.warning("asked to stop again: modules are killed")
            self.runtime.fleet.kill_all()
            return
        self._is_stopping = True
        log.info("stopping: modules first")
        self.notifier.send("STOPPING=1")
        self.watch.close()
        self.runtime.fleet.when_changed(self._stop_when_down)
        self.runtime.fleet.stop_all()
        self._stop_when_down()

    def _stop_when_down(self) -> None:
        if self.runtime.fleet.is_down and not self._is_leaving:
            self._is_leaving = True
            self.loop.call_soon(self._say_goodbye)

    def _say_goodbye(self) -> None:
        self.reaper.sweep()
        self.twin_watch.close()
        self.reporter.report_now()
        self.runtime.twins.flush()
        if self.runtime.connector is None:
            self.loop.stop()
        else:
            self.runtime.connector.close(self.loop.stop, _GOODBYE_S)


def _queue_settings(config: Config, file: str) -> QueueSettings:
    store = config.store
    return QueueSettings(
        file=file,
        max_bytes=store.max_mib * 1_048_576,
        keep_free_bytes=store.keep_free_mib * 1_048_576,
        linger_ms=store.linger_ms,
        rule=Rule(is_weighted=store.priorities == WEIGHTED, has_live_lane=store.live_lane),
    )


def _upstream_settings(config: Config) -> UpstreamSettings:
    upstream = config.upstream
    return UpstreamSettings(
        type=upstream.type,
        device=config.device.id,
        version=microedge.__version__,
        boot_id=read_boot_id(),
        host=upstream.host,
        port=upstream.port,
        tls=upstream.is_tls,
        username=upstream.username,
        password=upstream.password,
        ca_file=upstream.ca_file,
        cert_file=upstream.cert_file,
        key_file=upstream.key_file,
        client_id=upstream.client_id,
        protocol=upstream.protocol,
        keepalive_s=upstream.keepalive_s,
        topic=upstream.topic,
        envelope=upstream.envelope,
        path=upstream.path,
        max_bytes=upstream.max_mib * 1_048_576,
        keep=upstream.keep,
    )
