"""The main job with no hardware and no broker: `make run`, or `python examples/demo/run.py [--broker URL]`.

A simulator prints readings on a pseudo serial port; the runtime reads them through a bridge module in a process of
its own, routes them, and carries them out: to a file, or to the broker that is named. Everything lives in a temporary
directory that is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

from microedge.cli.live import run_live
from microedge.errors import MicroedgeError

HERE = os.path.dirname(os.path.abspath(__file__))
SIMULATOR = os.path.join(HERE, "..", "..", "firmware-tools", "sersim.py")
_PLUG_IN_S = 5.0


def main() -> int:
    options = parse()
    directory = tempfile.mkdtemp(prefix="microedge-demo-")
    port = os.path.join(directory, "ttySENSOR")
    arguments = [sys.executable, SIMULATOR, "--link", port, "--rate", str(options.rate)]
    simulator = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(port)
        config_file = configure(directory, port, options.broker)
        return run_live(config_file, intro=introduction(directory, simulator.pid, options))
    except MicroedgeError as error:
        print(f"microedge: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        simulator.terminate()
        simulator.wait()
        shutil.rmtree(directory, ignore_errors=True)


def wait_for(port: str) -> None:
    deadline_s = time.monotonic() + _PLUG_IN_S
    while not os.path.exists(port) and time.monotonic() < deadline_s:
        time.sleep(0.01)


def configure(directory: str, port: str, broker: str) -> str:
    """Fill in the template; return the path of the configuration."""
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "{broker}"' if broker else '[upstream]\ntype = "file"'
    with open(os.path.join(HERE, "microedge.toml")) as stream:
        text = stream.read().replace("@PORT@", port).replace("@UPSTREAM@", upstream)
    file = os.path.join(directory, "microedge.toml")
    with open(file, "w") as stream:
        stream.write(text)
    return file


def introduction(directory: str, simulator_pid: int, options: argparse.Namespace) -> str:
    outside = options.broker or os.path.join(directory, "state", "upstream.jsonl")
    return f"""microedge demo: a simulated sensor prints {options.rate:g} readings a second on a serial port; the module
"greenhouse" reads them, "system" adds the figures of this machine, and the hub carries both
through its queue to {outside}
Unplug the sensor: kill -USR1 {simulator_pid}    plug it in again: kill -USR2 {simulator_pid}
"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run microedge with a simulated serial sensor until Ctrl-C.")
    parser.add_argument("--broker", default="", metavar="URL", help="mqtt://host[:port]; default: a file")
    parser.add_argument("--rate", type=float, default=1.0, metavar="N", help="readings per second (default 1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
