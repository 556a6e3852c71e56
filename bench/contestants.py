"""Who is measured: microedge, and what people run instead.

    Microedge    microedge run, one instance of a bench image per name
    Supervised   supervisord, a local Mosquitto that bridges to the cloud, and a paho script per name
    Bare         a paho script straight to the cloud, with nobody to restart it or to keep its messages

Each is started as a user would start it, in a directory of its own, with the interpreter that runs the benchmark.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time

from broker import WINDOW, common_lines, free_port, mosquitto_program
from processes import end, tree, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
_STILL_S = 0.7  # microedge does not start from a directory that is still being copied: half a second without a change
_DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")  # they make every start slower

Settings = dict[str, object]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _DROPPED}


def script(name: str) -> str:
    """Return the path of a program that belongs to the interpreter that runs this."""
    return os.path.join(os.path.dirname(sys.executable), name)


class Contestant:
    """A running contestant as a context manager. `modules` maps a name to (what it runs, its settings)."""

    name = ""

    def __init__(self, directory: str, modules: dict[str, tuple[str, Settings]], port: int | None) -> None:
        """`port` is the cloud's, None for no upstream."""
        self.directory = directory
        self.modules = modules
        self.port = port
        self.process: subprocess.Popen[bytes]
        self.began_s = 0.0  # when its command was started

    @property
    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def result_file(self, module: str) -> str:
        raise NotImplementedError

    def result(self, module: str, timeout_s: float) -> dict[str, float]:
        """Wait for what a sender or a sink says when it is done."""
        wait_for(lambda: os.path.exists(self.result_file(module)), timeout_s, f"{self.name}: result of {module}")
        with open(self.result_file(module)) as stream:
            found: dict[str, float] = json.load(stream)
            return found

    def __enter__(self) -> Contestant:
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        arguments = self.prepare()
        time.sleep(_STILL_S)
        self.began_s = time.monotonic()
        log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(arguments, cwd=self.directory, env=environment(), stdout=log, stderr=log)
        log.close()
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    def prepare(self) -> list[str]:
        """Write what it needs and return its command."""
        raise NotImplementedError


class Microedge(Contestant):
    name = "microedge"
    upstream = ""  # lines of [upstream] instead of the cloud's
    routes = ""  # lines of [routes]
    state = "state"  # relative to the directory, or absolute

    def prepare(self) -> list[str]:
        for image in {image for image, _ in self.modules.values()}:
            source, target = os.path.join(HERE, "images", image), os.path.join(self.directory, "modules", image)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        with open(os.path.join(self.directory, "microedge.toml"), "w") as stream:
            stream.write(self._configuration())
        return [script("microedge"), "--config", "microedge.toml", "run"]

    def result_file(self, module: str) -> str:
        return os.path.join(self.state_dir, "data", module, "result.json")

    @property
    def state_dir(self) -> str:
        return os.path.join(self.directory, self.state)

    def status(self) -> dict[str, object]:
        """Ask the supervisor; see the control socket."""
        with socket.socket(socket.AF_UNIX) as client:
            here = os.open(self.state_dir, os.O_PATH)
            try:
                client.connect(f"/proc/self/fd/{here}/control.sock")  # a temporary directory's path may be too long
            finally:
                os.close(here)
            client.sendall(b'{"command": "status"}\n')
            answer: dict[str, dict[str, object]] = json.loads(client.makefile("rb").readline())
        return answer["result"]

    def is_serving(self) -> bool:
        try:
            return bool(self.status())
        except OSError:
            return False

    def _configuration(self) -> str:
        cloud = f'type = "mqtt"\nurl = "mqtt://127.0.0.1:{self.port}"' if self.port else 'type = "none"'
        lines = ["[device]", 'id = "bench"', "[paths]", f'state = "{self.state}"', "[upstream]", self.upstream or cloud]
        for name, (image, settings) in self.modules.items():
            desired = ", ".join(f"{key} = {_toml(value)}" for key, value in settings.items())
            lines += [f"[modules.{name}]", f'image = "{image}"', f"desired = {{ {desired} }}"]
        if self.routes:
            lines += ["[routes]", self.routes]
        return "\n".join([*lines, ""])


class Supervised(Contestant):
    name = "supervised"
    persistence = ("persistence true", "autosave_interval 1800")  # as Mosquitto comes
    store = ""  # where Mosquitto keeps its database, if not in the directory
    logfile = "NONE"

    def prepare(self) -> list[str]:
        self.local_port = free_port()
        self._write("mosquitto.conf", self._broker_lines())
        programs = [_program("mosquitto", f"{mosquitto_program()} -c mosquitto.conf", "NONE", 1)]
        for name, (image, settings) in self.modules.items():
            command = paho_command(image, self.local_port, {**settings, "result": self.result_file(name)})
            programs.append(_program(name, command, self.logfile, 2))
        self._write(
            "supervisord.conf",
            ["[supervisord]", "nodaemon=true", "logfile=/dev/null", "logfile_maxbytes=0", *programs],
        )
        return [script("supervisord"), "-c", "supervisord.conf"]

    def result_file(self, module: str) -> str:
        return os.path.join(self.directory, f"{module}.json")

    def _broker_lines(self) -> list[str]:
        lines = [
            *common_lines(self.local_port),
            *self.persistence,
            f"persistence_location {self.store or self.directory}/",
        ]
        if self.port:
            lines += ["connection cloud", f"address 127.0.0.1:{self.port}", "topic # out 1", "cleansession false"]
            lines += ["notifications false", "try_private false"]
        return lines

    def _write(self, name: str, lines: list[str]) -> None:
        with open(os.path.join(self.directory, name), "w") as stream:
            stream.write("\n".join([*lines, ""]))


class Bare(Contestant):
    name = "bare paho"

    def prepare(self) -> list[str]:
        ((name, (image, settings)),) = self.modules.items()
        assert self.port is not None
        return paho_command(image, self.port, {**settings, "result": self.result_file(name)}).split()

    def result_file(self, module: str) -> str:
        return os.path.join(self.directory, f"{module}.json")


def paho_command(image: str, port: int, settings: Settings) -> str:
    """Return the command of the paho script that does the work of a bench image."""
    options = " ".join(f"{key}={value}" for key, value in settings.items())
    return f"{sys.executable} {HERE}/peers/{image.replace('bench_', '')}.py port={port} window={WINDOW} {options}"


def _program(name: str, command: str, logfile: str, priority: int) -> str:
    return "\n".join(
        (
            f"[program:{name}]",
            f"command={command}",
            f"priority={priority}",
            "autorestart=true",
            "startsecs=1",
            "startretries=100",
            "redirect_stderr=true",
            f"stdout_logfile={logfile}",
        )
    )


def _toml(value: object) -> str:
    return json.dumps(value)
