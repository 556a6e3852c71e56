"""Sends {"run", "n"} and writes down, per run, how many it has sent and how many were acknowledged.

The record is one file of (sent, acknowledged) pairs, two u64 per run. A write to it needs no fsync: it has to survive
SIGKILL, not a power cut. While a file named `pause` lies in the data directory, nothing new is sent.
"""

from __future__ import annotations

import base64
import os
import struct

RECORD = struct.Struct("<QQ")
RECORD_FILE, PAUSE_FILE = "record", "pause"


def main(client) -> None:  # type: ignore[no-untyped-def]
    Producer(client).run()


class Producer:
    def __init__(self, client) -> None:  # type: ignore[no-untyped-def]
        self._client = client
        self._desired = client.desired
        self._fd = os.open(os.path.join(client.data_dir, RECORD_FILE), os.O_RDWR | os.O_CREAT, 0o600)
        self._run = os.fstat(self._fd).st_size // RECORD.size
        self._pause_file = os.path.join(client.data_dir, PAUSE_FILE)
        self._sent = 0
        self._recorded = (-1, -1)
        self._note(0)

    def run(self) -> None:
        client, desired = self._client, self._desired
        client.ready()
        while client.wait(desired["interval_s"]):
            if not os.path.exists(self._pause_file) and (not desired["total"] or self._sent < desired["total"]):
                self._send()
            if not desired["is_flushing"]:
                self._note(self._acknowledged())
            elif self._recorded[1] < self._sent and client.flush(0.2):
                self._note(self._sent)
        client.flush(1.0)
        self._note(self._acknowledged())

    def _send(self) -> None:
        self._write_record(self._sent + self._desired["burst"], max(self._recorded[1], 0))  # before they can arrive
        for _ in range(self._desired["burst"]):
            self._sent += 1
            is_marked = self._sent in self._desired["marked"]
            pad = "POISON" if is_marked else self._pad()
            body = {"run": self._run, "n": self._sent, "pad": pad}
            self._client.send("readings", body, durability=self._desired["durability"])

    def _pad(self) -> str:
        count = self._desired["pad_chars"]
        if self._desired["is_padding_random"]:  # so that compression gains little
            return base64.b64encode(os.urandom(count * 3 // 4)).decode()
        return "x" * count

    def _acknowledged(self) -> int:
        return self._sent - self._client._window.unacknowledged

    def _note(self, acknowledged: int) -> None:
        if self._recorded != (self._sent, acknowledged):
            self._write_record(self._sent, acknowledged)

    def _write_record(self, sent: int, acknowledged: int) -> None:
        self._recorded = (sent, acknowledged)
        os.pwrite(self._fd, RECORD.pack(sent, acknowledged), self._run * RECORD.size)
