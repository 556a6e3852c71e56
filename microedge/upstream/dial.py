"""Make the connection to the broker on a thread of its own: everything about it that can block.

Importing paho and ssl (0.3 s on a Pi Zero), the name look-up, TCP, the certificate files and the TLS handshake. A
name look-up cannot be interrupted, so the caller gives up waiting for it and its thread ends by itself later.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from microedge.errors import UpstreamUnavailable, printable
from microedge.postpone import postpone
from microedge.upstream import reasons

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Any

    from microedge.reactor import Reactor
    from microedge.upstream.settings import UpstreamSettings

    Resolve = Callable[..., list[tuple[Any, ...]]]
    Report = Callable[["socket.socket | None", str], None]

_MAX_THREADS = 4  # that hang in the resolver at once; more would only hang, too


class Dialer:
    """Starts one thread per attempt and reports on the loop's thread."""

    def __init__(self, settings: UpstreamSettings, reactor: Reactor, timeout_s: float, resolve: Resolve) -> None:
        """`resolve` is socket.getaddrinfo, or a test's."""
        self._settings = settings
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._threads: list[threading.Thread] = []

    def start(self, report: Report) -> None:
        """Call `report(socket, "")` or `report(None, why not)` on the loop's thread, maybe much later than asked.

        The socket is connected, does not block, and belongs to `report`.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= _MAX_THREADS:
            count = len(self._threads)
            text = f"{count} look-ups of the name {self._settings.host} still hang; check this device's DNS"
            self._reactor.call_soon(lambda: report(None, text))
            return
        thread = threading.Thread(target=self._run, args=(report,), name="upstream-dial", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, report: Report) -> None:
        connection, text = None, ""
        try:
            self._load()
            connection = dial(self._settings, self._timeout_s, self._resolve)
        except UpstreamUnavailable as error:
            text = str(error)
        except ImportError as error:
            text = f"paho-mqtt cannot be loaded: {error}; reinstall microedge"
        self._reactor.call_from_thread(lambda: report(connection, text))

    def _load(self) -> None:
        """Load paho here, where it may take its time; ssl only for a connection that has TLS."""
        postpone("hashlib", "urllib.parse", "urllib.request")  # for web sockets and proxies, which we do not use
        if not self._settings.tls:
            postpone("ssl")
        import microedge.upstream.session  # noqa: F401


def dial(settings: UpstreamSettings, timeout_s: float, resolve: Resolve) -> socket.socket:
    """Return a connected socket that does not block, with TLS if that is set. Blocks up to `timeout_s`.

    The time limit does not hold for `resolve`.

    Raises:
        UpstreamUnavailable: with a reason that says what to do.
    """
    deadline = time.monotonic() + timeout_s
    context = _tls_context(settings) if settings.tls else None
    try:
        connection = _connect(settings, deadline, resolve)
    except OSError as error:
        raise UpstreamUnavailable(reasons.socket_failed(error, settings)) from error
    except UnicodeError as error:  # a label of the name is empty or too long
        raise UpstreamUnavailable(f"name not found: {settings.host}: {error}; check the url") from error
    if context:
        connection = _handshake(connection, context, settings, deadline)
    connection.setblocking(False)
    return connection


def _connect(settings: UpstreamSettings, deadline: float, resolve: Resolve) -> socket.socket:
    addresses = resolve(settings.host, settings.port, 0, socket.SOCK_STREAM)
    failure: OSError = OSError(f"the name {settings.host} has no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        remaining_s = max(deadline - time.monotonic(), 0.1) / (len(addresses) - index)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(remaining_s)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
            continue
        return connection
    raise failure


def _tls_context(settings: UpstreamSettings) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    for key, file in (("ca_file", settings.ca_file), ("cert_file", settings.cert_file)):
        try:
            if file and key == "ca_file":
                context = ssl.create_default_context(cafile=file)
                # Python 3.13 turned this on: home-made authorities, as the guides make them, then fail for want of a
                # key usage extension, and a device that worked would go silent with an update of its system.
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            elif file:
                context.load_cert_chain(file, settings.key_file or None)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            text = printable(getattr(error, "strerror", "") or error)
            raise UpstreamUnavailable(f"{key} = {file!r} cannot be used: {text}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _handshake(
    connection: socket.socket, context: ssl.SSLContext, settings: UpstreamSettings, deadline: float
) -> socket.socket:
    connection.settimeout(max(deadline - time.monotonic(), 0.1))
    try:
        return context.wrap_socket(connection, server_hostname=settings.host)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            connection.close()
        failure = error if isinstance(error, OSError) else OSError(str(error))
        raise UpstreamUnavailable(reasons.tls_failed(failure, settings)) from error
