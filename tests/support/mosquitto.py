"""A real mosquitto on a free loopback port, with a configuration made for the test."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import time
from dataclasses import dataclass

from support.requirements import require_program

USER, PASSWORD = "greenhouse", "correct horse"


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, a broker certificate for localhost and 127.0.0.1, a client's, and a foreign CA."""

    ca: str
    broker_cert: str
    broker_key: str
    client_cert: str
    client_key: str
    other_ca: str


class Mosquitto:
    """One broker. `start` and `stop` may alternate; the port stays the same."""

    def __init__(self, directory: str, *, lines: tuple[str, ...] = ()) -> None:
        """`lines` are added to the configuration; without any the broker takes everybody."""
        self.program = require_program("mosquitto")
        self.directory = directory
        self.port = free_port()
        self._lines = lines or ("allow_anonymous true",)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def with_password(cls, directory: str) -> Mosquitto:
        """Only USER with PASSWORD may connect."""
        file = os.path.join(directory, "passwords")
        command = [require_program("mosquitto_passwd"), "-b", "-c", file, USER, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
        os.chmod(file, 0o644)
        return cls(directory, lines=("allow_anonymous false", f"password_file {file}"))

    @classmethod
    def with_tls(cls, directory: str, certificates: Certificates, *, client_certificate: bool = True) -> Mosquitto:
        """TLS; with `client_certificate` nobody else may connect."""
        return cls(
            directory,
            lines=(
                f"cafile {certificates.ca}",
                f"certfile {certificates.broker_cert}",
                f"keyfile {certificates.broker_key}",
                f"require_certificate {'true' if client_certificate else 'false'}",
                "allow_anonymous true",
            ),
        )

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        with open(os.path.join(self.directory, "mosquitto.log"), encoding="utf-8") as file:
            return file.read()

    def start(self) -> None:
        config = os.path.join(self.directory, "mosquitto.conf")
        user = pwd.getpwuid(os.getuid()).pw_name  # as root it would change to a user who cannot read the test's files
        lines = (f"listener {self.port} 127.0.0.1", f"user {user}", "max_queued_messages 0", *self._lines)
        with open(config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        with open(os.path.join(self.directory, "mosquitto.log"), "ab") as log:
            self._process = subprocess.Popen([self.program, "-c", config], stdout=log, stderr=log)
        self._wait_until_it_listens()

    def stop(self) -> None:
        """End it; harmless when it does not run."""
        process, self._process = self._process, None
        if process:
            process.terminate()
            process.wait(5)

    @property
    def cpu_s(self) -> float:
        """CPU seconds the broker has used so far."""
        assert self._process
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"mosquitto does not listen: {self.log}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificates(directory: str) -> Certificates:
    """Make all certificates with openssl, valid for two days."""
    openssl = require_program("openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=directory)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other_ca"):
        subject = f"/CN=test {name}"
        run("req", "-x509", *curve, "-days", "2", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.crt")
    for name, alternative in (("broker", "DNS:localhost,IP:127.0.0.1"), ("client", "DNS:client")):
        with open(os.path.join(directory, f"{name}.ext"), "w", encoding="ascii") as file:
            file.write(f"subjectAltName={alternative}\n")
        run("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")
    names = ("ca.crt", "broker.crt", "broker.key", "client.crt", "client.key", "other_ca.crt")
    return Certificates(*(os.path.join(directory, name) for name in names))
