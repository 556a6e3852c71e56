"""Run one module alone and print what it sends: `python -m microedge.sdk.run modules/soil_probe`.

No supervisor, no queue, no network: a parent process plays the hub, acknowledges everything and prints each message
as a JSON line. Ctrl-C asks the module to stop as the supervisor would.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from typing import Any

from microedge import wire
from microedge.errors import ModuleImageError, RemoteProtocolError, TwinError, printable
from microedge.message import Envelope, Message, pack
from microedge.method import NOT_FOUND, encode_payload
from microedge.sdk.runner import read_start, run_module

_EXAMPLES = """examples:
  python -m microedge.sdk.run modules/soil_probe
  python -m microedge.sdk.run modules/soil_probe --desired '{"interval_s": 1}' --count 5
  python -m microedge.sdk.run modules/valve --input commands '{"open": true}'
"""
_STOP_TIMEOUT_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Run the module named on the command line; return its exit code."""
    options = _parse(arguments)
    try:
        start = read_manifest(options.directory)
        start["desired"].update(_json_object(options.desired))
    except (ModuleImageError, ValueError) as error:
        print(f"microedge: {error}", file=sys.stderr)
        return 78
    with tempfile.TemporaryDirectory(prefix="microedge-") as data_dir:
        start["data_dir"] = data_dir
        hub_end, module_end = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            hub_end.close()
            os._exit(_child(module_end))
        module_end.close()
        return _Bench(hub_end, pid, start, options).run()


def read_manifest(directory: str) -> dict[str, Any]:
    """Return a START document for the image in `directory`, from its module.toml.

    Only what is needed to run it; `microedge module check` examines the rest.

    Raises:
        ModuleImageError: there is no readable module.toml in it.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    directory = os.path.abspath(directory)
    file = os.path.join(directory, "module.toml")
    try:
        with open(file, "rb") as stream:
            manifest = tomllib.load(stream)
        module = manifest["module"]
        entry = module.get("entry", f"{module['name']}:main")
        entry_module, _, entry_function = entry.partition(":")
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ModuleImageError(
            file, f"{type(error).__name__}: {error}: expected a manifest with [module] name"
        ) from error
    ports = manifest.get("ports", {})
    return {
        "device": "standalone",
        "module": module["name"],
        "image": module["name"],
        "image_dir": directory,
        "entry_module": entry_module,
        "entry_function": entry_function,
        "outputs": ports.get("outputs", []),
        "inputs": ports.get("inputs", []),
        "desired": manifest.get("desired", {}),
        "env": dict(os.environ),
        "window": 256,
        "window_bytes": 1_048_576,
        "progress_s": 10.0,
        "data_dir": "",
    }


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"--desired {printable(text)}: expected a JSON object such as '{{\"interval_s\": 1}}'")
    return value


class _Bench:
    """The parent: a hub for one module, which prints."""

    def __init__(self, sock: socket.socket, pid: int, start: dict[str, Any], options: argparse.Namespace) -> None:
        self._sock = sock
        self._pid = pid
        self._start = start
        self._options = options
        self._count = 0
        self._reports = 0
        self._deadline_s: float | None = None

    def run(self) -> int:
        signal.signal(signal.SIGINT, lambda signum, frame: self._stop())
        signal.signal(signal.SIGTERM, lambda signum, frame: self._stop())
        self._sock.sendall(wire.encode(wire.START, body=json.dumps(self._start).encode()))
        decoder = wire.Decoder(wire.FROM_MODULE)
        self._sock.settimeout(0.5)
        while True:
            if self._deadline_s is not None and time.monotonic() > self._deadline_s:
                os.kill(self._pid, signal.SIGKILL)
            try:
                data = self._sock.recv(65_536)
            except socket.timeout:  # TimeoutError only from Python 3.10 on
                continue
            except OSError:
                break
            if not data:
                break
            self._take(decoder, data)
        _, status = os.waitpid(self._pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def _take(self, decoder: wire.Decoder, data: bytes) -> None:
        for kind, number, _, head, body in decoder.feed(data):
            if kind == wire.SEND:
                self._print(Envelope.decode(head), body, number)
                self._send(wire.encode(wire.ACK, number))
            elif kind == wire.READY:
                self._deliver()
            elif kind == wire.INVOKE:
                text = encode_payload({"message": "this module runs alone: nobody is there to be called"})
                self._send(wire.encode(wire.INVOKED, number, head=b"%d" % NOT_FOUND, body=text))
            elif kind == wire.REPORT:
                self._print_report(number, json.loads(body))
            elif kind == wire.DONE and head:
                print(f"input failed: {head.decode()}", file=sys.stderr)

    def _deliver(self) -> None:
        for delivery, (name, text) in enumerate(self._options.input or [], start=1):
            envelope = Envelope("manual", content_type="application/json", content_encoding="utf-8")
            message = Message(envelope, text.encode(), "cli", "manual", delivery, 0, int(time.time() * 1000))
            self._send(wire.encode(wire.DELIVER, delivery, head=name.encode(), body=pack(message)))

    def _print(self, envelope: Envelope, body: bytes, sequence: int) -> None:
        try:
            shown: object = json.loads(body)
        except ValueError:
            shown = printable(body, 4_096)
        line = {"sequence": sequence, "output": envelope.output, "body": shown}
        if envelope.properties:
            line["properties"] = envelope.properties
        print(json.dumps(line, ensure_ascii=False), flush=True)
        self._count += 1
        if self._options.count and self._count >= self._options.count:
            self._stop()

    def _print_report(self, request: int, patch: object) -> None:
        """Print a change of the reported properties. Of the limits of a twin only the first is checked: an object."""
        if not isinstance(patch, dict):
            error = TwinError("properties.reported", patch, "a JSON object")
            members = {"path": error.path, "got": error.got, "expected": error.expected, "message": str(error)}
            self._send(wire.encode(wire.REPORTED, request, head=b"400", body=json.dumps(members).encode()))
            return
        self._reports += 1
        print(json.dumps({"reported": patch, "version": self._reports}, ensure_ascii=False), flush=True)
        self._send(wire.encode(wire.REPORTED, request, head=b"200", body=b'{"version":%d}' % self._reports))

    def _stop(self) -> None:
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + _STOP_TIMEOUT_S
            self._send(wire.encode(wire.STOP))

    def _send(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # the module ended; the loop sees the end of the stream and reports how
            self._sock.sendall(frame)


def _child(sock: socket.socket) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which asks politely
    try:
        return run_module(sock, read_start(sock))
    except RemoteProtocolError:
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m microedge.sdk.run",
        description="Run one module alone and print what it sends, a JSON line each.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", help="the module's directory, with its module.toml")
    parser.add_argument("--desired", default="{}", metavar="JSON", help="desired properties over the manifest's")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="stop after N messages")
    parser.add_argument("--input", nargs=2, action="append", metavar=("NAME", "JSON"), help="deliver one message")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
