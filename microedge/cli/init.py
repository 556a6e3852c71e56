"""`microedge init`: a configuration that explains itself and already shows something."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace

from microedge.cli.failure import FAILED, OK, USAGE, CommandError
from microedge.cli.terminal import clean, say
from microedge.names import DEVICE_RULE, is_device_id

FILE_NAME = "microedge.toml"

# Only the schemes that the mqtt upstream knows; the rest of the URL is the configuration's business.
_BROKER = re.compile(r"mqtts?://(?P<user>[^/@]*@)?(\[[0-9A-Fa-f:.]+\]|[^/:@\s]+)(:\d{1,5})?/?")

_NO_UPSTREAM = """\
type = "none"                      # "none": messages end here | "file": JSON lines | "mqtt": a broker
# type = "mqtt"
# url = "mqtt://broker.local:1883" # mqtts:// for TLS
"""

_MQTT_UPSTREAM = """\
type = "mqtt"                      # "none": messages end here | "file": JSON lines | "mqtt": a broker
url = {url}
"""

_TEMPLATE = """\
# microedge.toml: what this device runs and where its messages go.
# Every value that is commented out is the default. After a change: kill -HUP, or restart. Check: microedge check

[device]
{device}

[paths]                            # relative to this file
# modules = "modules"              # drop a module image's directory in here and it runs
# state = "state"                  # queue, twins, the modules' own data; keep it on a disk that survives reboots

[upstream]
{upstream}\
# username = "greenhouse"
# password = {{ file = "broker.password" }} # its mode 0600; or {{ env = "BROKER_PASSWORD" }}
# ca_file = "ca.pem"               # for mqtts://; default: the system's authorities
# topic = "microedge/{{device}}/{{module}}/{{output}}"

[store]                            # messages wait here while the upstream is away
# max_mib = 256                    # MiB the queue may take on disk; the oldest go first when it is full
# keep_free_mib = 128              # MiB always left free on that disk
# ttl_s = 7200                     # seconds after which a waiting message is of no use any more; -1: never
# linger_ms = 5000                 # milliseconds a message may wait in memory before it is written to disk

# One table per running module; any number of them may use the same image.

[modules.sensor]                   # no hardware needed: invented readings
image = "simulated_sensor"
desired = {{ interval_s = 1 }}       # seconds between two readings

[modules.system]                   # this device's own processor, memory, temperature, disk
image = "system_metrics"

# [modules.probe]                  # a real serial line; find its name with: microedge serial list
# image = "serial_bridge"
# desired = {{ port = "/dev/ttyUSB0", baud = 9600, framing = "line", decode = "json" }}

[routes]                           # priority 0 (first) to 9 (last); ttl_s in seconds, -1: never
everything = "FROM /messages/* INTO $upstream"
# alarms = {{ route = "FROM /messages/modules/*/outputs/alarms INTO $upstream", priority = 0, ttl_s = -1 }}
"""


def init(args: Namespace) -> int:
    """Write DIR/microedge.toml and the directories it names; print the next command.

    Raises:
        CommandError: there is one already, an argument is wrong, or the directory cannot be written.
    """
    directory = args.directory
    text = template(args.device, args.broker)
    file = os.path.join(directory, FILE_NAME)
    try:
        os.makedirs(os.path.join(directory, "modules"), exist_ok=True)
        os.makedirs(os.path.join(directory, "state"), mode=0o700, exist_ok=True)
        with open(file, "x", encoding="utf-8") as new_file:
            new_file.write(text)
    except FileExistsError as error:
        raise CommandError(
            f"{clean(error.filename)} exists already; nothing was changed", _advice(file, directory), FAILED
        ) from error
    except OSError as error:
        raise CommandError(
            f"cannot write {clean(error.filename or file)}: {error.strerror}",
            "choose another directory",
            FAILED,
        ) from error
    say(_next_steps(directory, args.broker))
    return OK


def template(device: str | None, broker: str | None) -> str:
    """Return the text of a new microedge.toml.

    Raises:
        CommandError: the device id or the broker's URL is not one.
    """
    if device is not None and not is_device_id(device):
        raise CommandError(
            f"--device {clean(device)!r}: expected {DEVICE_RULE}", "for example --device greenhouse-7", USAGE
        )
    host_name = os.uname().nodename
    if device is None and not is_device_id(host_name):
        device = re.sub(r"[^A-Za-z0-9._-]+|^[^A-Za-z0-9]+", "", host_name)[:128] or "device"
    unset = f'# id = "greenhouse-7"              # default: the host name, here {host_name}'
    identity = f"id = {json.dumps(device)}" if device else unset
    upstream = _MQTT_UPSTREAM.format(url=json.dumps(_checked(broker))) if broker is not None else _NO_UPSTREAM
    return _TEMPLATE.format(device=identity, upstream=upstream)


def _checked(broker: str) -> str:
    found = _BROKER.fullmatch(broker)
    if found is None or not broker.isprintable():
        raise CommandError(
            f"--broker {clean(broker)!r}: expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]",
            "for example --broker mqtt://broker.local:1883",
            USAGE,
        )
    if found["user"]:
        raise CommandError(
            "--broker: expected no user name or password in the URL, where every log would show them",
            f"leave them out, then set username and password under [upstream] in {FILE_NAME}",
            USAGE,
        )
    return broker


def _advice(file: str, directory: str) -> str:
    if os.path.isfile(file):
        return f"run it: microedge --config {file} run; or choose another directory: microedge init DIR"
    return f"{clean(directory)} is in the way; choose another directory: microedge init DIR"


def _next_steps(directory: str, broker: str | None) -> str:
    enter = "" if os.path.abspath(directory) == os.getcwd() else f"cd {directory} && "
    target = f"to {broker}" if broker else "nowhere yet; set [upstream] or pass --broker"
    return (
        f"wrote {os.path.join(directory, FILE_NAME)}: a simulated sensor and this device's metrics\n"
        f"messages go {target}\n"
        f"next: {enter}microedge run --live"
    )
