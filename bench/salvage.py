"""How soon the queue works again after damage, and what comes back: `python bench/salvage.py [MESSAGES]`.

Fills a queue as an outage would, spoils pages, and opens it. Prints ms until `open` returns, until a new message is
fsynced, and until the last message of the old database is in the new one, with the counts.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), os.pardir, "tests"))

from support.queue_rig import UPSTREAM, QueueRig, new_message

PAGE_BYTES = 4096
ROUND = 128  # messages per commit, as half a producer's window makes it while the upstream is away


def filled(directory: str, messages: int) -> QueueRig:
    rig = QueueRig(directory, max_bytes=1 << 30).open()
    dice = random.Random(0)
    for sequence in range(1, messages + 1):
        body = b'{"celsius": %.2f, "humidity": %.1f, "n": %d}' % (dice.gauss(20, 5), dice.gauss(50, 9), sequence)
        rig.queue.append(new_message(sequence, body=body.ljust(100)), [(UPSTREAM, 9, -1)])
        if not sequence % ROUND:
            rig.pump()
    rig.queue.close(60)
    return rig


def spoil(file: str, count: int) -> None:
    dice = random.Random(count)
    pages = os.path.getsize(file) // PAGE_BYTES
    chosen = [0] if count == 0 else dice.sample(range(1, pages), min(count, pages - 1))
    with open(file, "r+b") as stream:
        for page in chosen:
            stream.seek(page * PAGE_BYTES)
            stream.write(dice.getrandbits(8 * PAGE_BYTES).to_bytes(PAGE_BYTES, "big"))


def quick_check_ms(file: str) -> float:
    db = sqlite3.connect(file)
    begun_s = time.perf_counter()
    db.execute("PRAGMA quick_check(1)").fetchone()
    ms = (time.perf_counter() - begun_s) * 1000
    db.close()
    return ms


def restart(rig: QueueRig, label: str) -> None:
    rig.queue = rig.new_queue()
    begun_s = time.perf_counter()
    rig.queue.open()
    opened_s = time.perf_counter()
    settled = len(rig.settled)
    rig.queue.append(new_message(10**9, durability="immediate"), [("/modules/a/inputs/b", 9, -1)])
    rig.reactor.turn()
    while len(rig.settled) == settled:
        assert rig.reactor.run_thread_call(10)
    saved_s = time.perf_counter()
    rig.pump()
    done_s = time.perf_counter()
    times = [f"{(at_s - begun_s) * 1000:8.0f}" for at_s in (opened_s, saved_s, done_s)]
    status = rig.queue.status()
    print(f"{label:18} {' '.join(times)}  {str(status['reason']).split(';')[0] or 'in order'}")
    rig.stop()


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as directory:
        rig = filled(directory, messages)
        whole = rig.file + ".whole"
        shutil.copy(rig.file, whole)
        mib = os.path.getsize(whole) / (1 << 20)
        print(f"{messages:,} messages, {mib:.1f} MiB; quick_check {quick_check_ms(rig.file):.0f} ms")
        print(f"{'damage':18} {'open ms':>8} {'saved ms':>8} {'done ms':>8}")
        restart(rig, "none")
        for count in (0, 1, 20):
            shutil.rmtree(os.path.join(rig.directory, "quarantine"), ignore_errors=True)
            for suffix in ("", "-wal"):
                if os.path.exists(rig.file + suffix):
                    os.unlink(rig.file + suffix)
            shutil.copy(whole, rig.file)
            spoil(rig.file, count)
            restart(rig, f"{count} pages" if count else "the first page")


if __name__ == "__main__":
    main()
