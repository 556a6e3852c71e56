"""A control server that speaks the supervisor's protocol from canned answers, for tests of its clients."""

from __future__ import annotations

import copy
import json
import os
import socket
import threading

from support import twins

STATUS = {
    "version": "0.1.0",
    "device": "greenhouse-7",
    "pid": 812,
    "uptime_s": 11535.2,
    "config": "/home/pi/demo/microedge.toml",
    "state_dir": "/home/pi/demo/state",
    "modules_dir": "/home/pi/demo/modules",
    "memory_bytes": 16986931,
    "isolation": "plain",
    "upstream": {
        "type": "mqtt",
        "url": "mqtt://broker.local:1883",
        "state": "connected",
        "reason": "",
        "since_s": 11000.0,
        "reconnects": 2,
        "in_flight": 4,
        "delivered": 123456,
    },
    "queue": {
        "state": "ok",
        "reason": "",
        "messages": 12,
        "ram_messages": 10,
        "ram_bytes": 1200,
        "disk_messages": 2,
        "disk_bytes": 104857,
        "max_bytes": 268435456,
        "oldest_age_s": 3.2,
        "commits": 1,
        "written_bytes": 4096,
        "dropped": {"ttl": 3, "evicted": 1200},
        "dead": 1,
        "endpoints": [
            {
                "endpoint": "$upstream",
                "priority": 9,
                "messages": 12,
                "disk_messages": 2,
                "in_flight": 4,
                "oldest_age_s": 3.2,
            }
        ],
    },
    "modules": [
        {
            "name": "north",
            "image": "serial_bridge",
            "version": "1.0.0",
            "origin": "bundled",
            "state": "running",
            "reason": "",
            "pid": 820,
            "launch": "fork",
            "uptime_s": 11534.0,
            "restarts": 0,
            "next_start_in_s": None,
            "memory_bytes": 2516582,
            "cpu_s": 12.31,
            "sent": 123400,
            "received": 2,
            "unacknowledged": 4,
            "log_throttled": False,
        },
        {
            "name": "soil_probe",
            "image": "soil_probe",
            "version": "0.3.0",
            "origin": "dropped-in",
            "state": "backoff",
            "reason": "exited with code 1 after 0.2 s: OSError: [Errno 6] no such device or address: '/dev/i2c-1'",
            "pid": None,
            "launch": "fork",
            "uptime_s": None,
            "restarts": 17,
            "next_start_in_s": 42.0,
            "memory_bytes": None,
            "cpu_s": 0.0,
            "sent": 0,
            "received": 0,
            "unacknowledged": 0,
            "log_throttled": False,
        },
    ],
    "rejected": [{"file": "modules/broken/module.toml:3", "reason": "name = 'Broken': expected the directory's name"}],
    "routes": [{"name": "telemetry", "text": "FROM /messages/* INTO $upstream", "priority": 9, "messages": 10}],
    "dropped": {"no_route": 0},
    "warnings": ["No [routes]: every output goes INTO $upstream"],
}

IMAGES = [
    {
        "name": "serial_bridge",
        "version": "1.0.0",
        "origin": "bundled",
        "description": "Reads a serial line and sends what it decodes",
        "directory": "/usr/lib/microedge/serial_bridge",
        "shadows": False,
        "instances": ["north"],
    },
    {
        "name": "soil_probe",
        "version": "0.3.0",
        "origin": "dropped-in",
        "description": "Reads the soil probe on the greenhouse bus",
        "directory": "/home/pi/demo/modules/soil_probe",
        "shadows": True,
        "instances": ["soil_probe"],
    },
]

LINES = [
    {"time_ms": 1700000000123, "level": 6, "text": "opened /dev/ttyUSB0 at 9600 baud"},
    {"time_ms": 1700000001123, "level": 3, "text": "cannot read: \x1b[31mtimed out\x07"},
]

MESSAGE = {
    "module": "north",
    "output": "readings",
    "time_ms": 1700000000123,
    "message_id": "s-1",
    "content_type": "application/json",
    "properties": {"unit": "C"},
    "body": '{"celsius":21.5}',
}


class FakeSupervisor:
    """Answers at `path` from a thread; `status`, `events`, `refusals` and `twin` may be changed between requests.

    `requests` keeps what was asked. A stream ends after its events unless `hold_streams` is set.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.status = copy.deepcopy(STATUS)
        self.events = {"tail": [MESSAGE, {**MESSAGE, "message_id": "s-2"}], "logs": LINES}
        self.refusals: dict[str, dict[str, object]] = {}
        self.requests: list[dict[str, object]] = []
        self.hold_streams = False
        self.twin = twins.example()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._answering: list[threading.Thread] = []

    def __enter__(self) -> FakeSupervisor:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        directory = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY)
        try:
            self._server.bind(f"/proc/self/fd/{directory}/{os.path.basename(self.path)}")
        finally:
            os.close(directory)
        self._server.listen(8)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.set()
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the accept
        for thread in (self._thread, *self._answering):
            thread.join(5)
        self._server.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            answering = threading.Thread(target=self._answer, args=(connection,))
            self._answering.append(answering)
            answering.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            line = reader.readline()
            if line:
                self._answer_line(connection, line)

    def _answer_line(self, connection: socket.socket, line: bytes) -> None:
        request = json.loads(line)
        self.requests.append(request)
        command = request["command"]
        if command in self.refusals:
            _send(connection, {"ok": False, **self.refusals[command]})
        elif command == "twin_set":
            _send(connection, twins.set_in(self.twin, request))
        elif command == "tail" or request.get("follow"):
            self._stream(connection, command)
        else:
            _send(connection, {"ok": True, "result": getattr(self, f"_{command}")(request)})

    def _stream(self, connection: socket.socket, command: str) -> None:
        _send(connection, {"ok": True, "result": None})
        for event in self.events[command]:
            _send(connection, {"event": event})
        if self.hold_streams:
            self._closing.wait(10)

    def _status(self, request: dict[str, object]) -> dict[str, object]:
        name = request.get("module")
        modules = [module for module in self.status["modules"] if name in (None, module["name"])]
        return {**self.status, "modules": modules}

    def _list(self, _request: dict[str, object]) -> dict[str, object]:
        return {"modules": self.status["modules"], "images": IMAGES, "rejected": self.status["rejected"]}

    def _queue(self, _request: dict[str, object]) -> object:
        return self.status["queue"]

    def _logs(self, request: dict[str, object]) -> object:
        return {"lines": LINES[-request["lines"] :]}

    def _send(self, _request: dict[str, object]) -> object:
        return {"message_id": "s-7"}

    def _start(self, request: dict[str, object]) -> object:
        return {"module": request["module"], "state": "running"}

    def _stop(self, request: dict[str, object]) -> object:
        return {"module": request["module"], "state": "stopped"}

    _restart = _start

    def _twin(self, _request: dict[str, object]) -> object:
        return twins.answer(self.twin)

    def _twin_history(self, _request: dict[str, object]) -> object:
        return twins.history(self.twin)


def _send(connection: socket.socket, value: object) -> None:
    try:
        connection.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        return  # the client has seen enough
