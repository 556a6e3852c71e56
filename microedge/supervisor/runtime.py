"""The running parts as status and commands see them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from microedge.config.discovery import Discovery
from microedge.config.model import Config
from microedge.config.plan import Plan
from microedge.identity.store import IdentityStore
from microedge.queue.queue import MessageQueue
from microedge.supervisor.exchange import Exchange
from microedge.supervisor.fleet import Fleet
from microedge.supervisor.logs import LogRing
from microedge.supervisor.twins import Twins
from microedge.upstream.connector import Connector


@dataclass
class Runtime:
    """What `app.py` has built. Configuration, discovery, plan and warnings change while it runs."""

    config: Config
    ring: LogRing
    fleet: Fleet
    exchange: Exchange
    queue: MessageQueue
    connector: Connector | None
    identities: IdentityStore
    twins: Twins
    discovery: Discovery | None = None
    plan: Plan = field(default_factory=lambda: Plan((), (), ()))
    warnings: list[str] = field(default_factory=list)
    config_version: int = 1  # counts the attempts to load it
    refusal: str = ""  # why the last attempt failed; the configuration before it is in force
    started_s: float = field(default_factory=time.monotonic)
