"""The grammar of the command line. Nothing of microedge is imported here: `microedge run` forks its fork server
from a process that has loaded this file and little else.

Each verb names its function as "module:function" under `microedge.cli`; `main` imports it when it is called.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import NoReturn

_DESCRIPTION = "Run isolated Python modules on a small Linux device, with store and forward to an MQTT broker."

_EXIT_CODES = """\
exit codes:
  0   done, all is well
  1   failed; for status: a module is failed, unhealthy or in back-off, or the queue cannot write; for verify: a gap
  2   wrong arguments
  3   microedge is not running
  78  the configuration is wrong: edit it, see microedge check
"""

_FIRST_STEPS = """\
first steps:
  microedge init demo && cd demo     write a configuration that already shows something
  microedge run --live               run it and watch; Ctrl-C ends it
  microedge status                   in another terminal: what runs, what waits
  microedge check                    is this device set up well?

"""

_INIT = """\
  microedge init demo                              a simulated sensor and this device's own metrics, no broker
  microedge init --broker mqtt://broker.local:1883 --device greenhouse-7
"""

_RUN = """\
  microedge run                                    as a service does; logs go to standard error
  microedge run --live                             with messages and a status table, to look at
  microedge --config /etc/microedge/microedge.toml run
"""

_CHECK = """\
  microedge check                                  is anything wrong, and what is the cure?
  microedge check --offline --json                 for a script, without the network
"""

_STATUS = """\
  microedge status                                 everything at a glance
  microedge status north                           one module in detail
  microedge status --json | jq .queue.messages     for a program
"""

_LOGS = """\
  microedge logs north -f                          the last 100 lines, then new ones
  microedge logs supervisor -n 20                  what microedge itself said
"""

_TAIL = """\
  microedge tail                                   every message of every module
  microedge tail north/readings                    one output
  microedge tail north -n 1 --json                 the next message, for a program
"""

_VERIFY = """\
  microedge verify                                 what this device has sent upstream, as its configuration says
  microedge verify recording.jsonl --json          what mosquitto_sub -V 5 -q 1 -F %j has recorded
  microedge verify --broker mqtt://broker.local --for 60
"""

_SEND = """\
  microedge send pump commands '{"on": true}'
  echo '{"on": true}' | microedge send pump commands -
"""

_ROUTE_TEST = """\
  microedge route test 'FROM /* WHERE $body.level >= 3 INTO $upstream' --message message.json
  microedge tail -n 1 --json | microedge route test alarms --message -

the message is what microedge tail --json prints, or shorter; keys that are left out are empty:
  {"module": "north", "output": "readings", "properties": {"state": "on"}, "body": {"level": 3}}
further keys: content_type, content_encoding, body_base64, system ({"contentType": ...}), origin ("twin")
"""

_CALL = """\
  microedge call pump calibrate '{"points": 3}'
  microedge call '$edgeAgent' RestartModule '{"schemaVersion": "1.0", "id": "pump"}'
"""

_MODULE_NEW = """\
  microedge module new soil_probe                  writes modules/soil_probe
  python -m microedge.sdk.run modules/soil_probe   runs it alone and prints what it sends
"""

_MODULE_CHECK = """\
  microedge module check modules/soil_probe
"""

_QUEUE_PEEK = """\
  microedge queue peek upstream                    the next 10 messages for the upstream
  microedge queue peek pump/commands -n 3 --json   with whole bodies, for a program
  microedge queue peek --dead                      the last 10 that could not be delivered, and why
"""

_QUEUE_REPLAY = """\
  microedge queue replay 12 13                     two of them
  microedge queue replay --endpoint pump/commands  when the module can handle them now
"""

_QUEUE_PURGE = """\
  microedge queue purge pump/commands              what waits for one input; asks first
  microedge queue purge --dead --module north --yes
"""

_IDENTITY_SHOW = """\
  microedge identity show                          the device and all modules
  microedge identity show north --json             one module, for a program
"""

_IDENTITY_ROTATE = """\
  microedge identity rotate north                  first the secondary key; bring it to whoever signs, ...
  microedge identity rotate north --which primary  ... then the other one
  microedge identity rotate --device
"""

_TWIN_GET = """\
  microedge twin get north                         status, desired and reported properties, tags
  microedge twin get north --desired --blame       who set each value, when, and what it was before
  microedge twin get north --json | jq .properties.reported
"""

_TWIN_SET = """\
  microedge twin set north interval_s=5 limits.max=3
  microedge twin set north name=probe on=true      values are JSON where they parse, and text otherwise
  microedge twin set north id='"5"' note='""'      so the text 5, and the empty text, need quotes
  microedge twin set north interval_s= --unset on  removes both, also if the image or the configuration sets them
  microedge twin set north '{"limits": {"max": 3, "min": null}}'
  microedge twin set north --tags site=hall-3
  microedge twin set north --reset interval_s      the value of image or configuration shows again
  microedge twin set north --replace '{}'          withdraws all that was set here, on the command line or by an edit

a dot goes one level down; null removes; an array is replaced as a whole
"""

_TWIN_HISTORY = """\
  microedge twin history north                     the last 50 changes and 20 refused attempts, at most
  microedge twin history north -n 5 --json
"""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line with the nearest known verb and where to read on."""

    def error(self, message: str) -> NoReturn:
        """Print the error and what to do, then exit with 2."""
        found = re.search(r"invalid choice: '([^']*)'.*?choose from (.*)\)", message)
        if found:
            message = f"unknown command {found[1]!r}{_nearest(found[1], re.findall(r'[a-z]+', found[2]))}"
        self.exit(2, f"{self.prog}: {message}\n  see: {self.prog} --help\n")


def build() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="microedge",
        description=_DESCRIPTION,
        epilog=_FIRST_STEPS + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.set_defaults(config=None, socket=os.environ.get("MICROEDGE_SOCKET") or None, call=None)
    verbs = _Verbs(parser)
    _add_setup(verbs)
    _add_reading(verbs)
    _add_acting(verbs)
    _add_groups(verbs)
    return parser


class _FreeOrder(Parser):
    """Takes options between the positional arguments as well, which argparse does only when it is asked to."""

    _is_asked = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # overloaded
        if self._is_asked:
            return super().parse_known_args(args, namespace)
        self._is_asked = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_asked = False


class _Verbs:
    """The sub-commands of one parser."""

    def __init__(self, parser: Parser, parser_class: type[Parser] = Parser) -> None:
        self._action = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=parser_class)

    def add(self, name: str, call: str, summary: str, examples: str = "") -> Parser:
        parser: Parser = self._action.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_common(parser)
        parser.set_defaults(call=call)
        return parser

    def add_reading(self, name: str, call: str, summary: str, examples: str = "") -> Parser:
        parser = self.add(name, call, summary, examples)
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")
        return parser

    def add_group(self, name: str, summary: str, parser_class: type[Parser] = Parser) -> _Verbs:
        return _Verbs(self.add(name, f"group:{name}", summary), parser_class)


def _nearest(word: str, known: list[str]) -> str:
    import difflib  # only somebody who mistyped pays for it

    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _add_common(parser: Parser) -> None:
    # SUPPRESS: an option given before the verb must not be overwritten by the verb's own default. And no shared
    # parent: set_defaults() on one parser would change the default of all.
    parser.add_argument(
        "--config",
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="configuration (default: $MICROEDGE_CONFIG, ./microedge.toml, /etc/microedge/microedge.toml)",
    )
    parser.add_argument(
        "--socket",
        default=argparse.SUPPRESS,
        metavar="PATH",
        help="the supervisor's control socket (default: $MICROEDGE_SOCKET, control.sock in the state directory)",
    )


def _add_setup(verbs: _Verbs) -> None:
    init = verbs.add("init", "init:init", "write a commented microedge.toml that already shows something", _INIT)
    init.add_argument("directory", metavar="DIR", nargs="?", default=".", help="where (default: here)")
    init.add_argument("--broker", metavar="URL", help="MQTT broker, for example mqtt://broker.local:1883")
    init.add_argument("--device", metavar="ID", help="device id (default: the host name)")
    run = verbs.add("run", "run:run", "run the configured modules until SIGTERM or Ctrl-C", _RUN)
    run.add_argument("--live", action="store_true", help="show live messages and a status table")
    check = verbs.add_reading("check", "check:check", "check this device and say how to cure what is wrong", _CHECK)
    check.add_argument("--offline", action="store_true", help="skip what needs the network")


def _add_reading(verbs: _Verbs) -> None:
    status = verbs.add_reading("status", "status:show", "show what runs, what waits and why", _STATUS)
    status.add_argument("name", metavar="NAME", nargs="?", help="one module, in detail")
    status.add_argument("--watch", action="store_true", help="show it again every 2 s until Ctrl-C")
    verbs.add_reading("list", "listing:show", "list module instances and the images they can be made of")
    logs = verbs.add_reading("logs", "logs:show", "show what a module, or the supervisor, has said", _LOGS)
    logs.add_argument("name", metavar="NAME", help='a module, or "supervisor"')
    logs.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    logs.add_argument("-n", "--lines", metavar="N", type=_whole, default=100, help="last lines (default: 100)")
    tail = verbs.add_reading("tail", "tail:show", "show messages as modules send them, until Ctrl-C", _TAIL)
    tail.add_argument("source", metavar="NAME[/OUTPUT]", nargs="?", default="", help="one module or one output")
    tail.add_argument("-n", "--count", metavar="N", type=_whole, default=0, help="end after N messages")
    verify = verbs.add_reading("verify", "verify:show", "find out whether messages were lost or came twice", _VERIFY)
    verify.add_argument("source", metavar="FILE", nargs="*", help="recordings or directories; '-': standard input")
    verify.add_argument("--broker", metavar="URL", help="listen to this broker, as mqtts://broker.local:8883")
    verify.add_argument("--user", metavar="NAME", help="user name for --broker")
    verify.add_argument("--password-file", metavar="FILE", help="file with the password for --broker")
    verify.add_argument("--ca-file", metavar="FILE", help="authorities for --broker (default: the system's)")
    verify.add_argument("--topic", metavar="FILTER", help="listen to this (default: all outputs of all modules)")
    verify.add_argument("--for", metavar="S", type=_seconds, dest="for_s", help="listen for S seconds")
    verify.add_argument("--idle", metavar="S", type=_seconds, dest="idle_s", help="end after S seconds without any")
    verbs.add_reading("version", "version:show", "print the version and where it is installed")


def _add_acting(verbs: _Verbs) -> None:
    for verb, summary in (
        ("start", "start a stopped or failed module"),
        ("stop", "stop a module; it stays stopped until it is started or microedge restarts"),
        ("restart", "stop a module and start it again"),
    ):
        parser = verbs.add(verb, "acting:change", summary, f"  microedge {verb} north\n")
        parser.set_defaults(verb=verb)
        parser.add_argument("name", metavar="NAME", help="a module instance, as microedge status shows it")
    send = verbs.add("send", "acting:send", "send one message to an input of a module", _SEND)
    send.add_argument("name", metavar="NAME", help="a module instance")
    send.add_argument("input", metavar="INPUT", help="one of its inputs")
    send.add_argument("body", metavar="JSON", help="the body; '-' reads it from standard input")
    call = verbs.add_reading("call", "calling:call", "call a direct method of a module and print its answer", _CALL)
    call.add_argument("name", metavar="NAME", help="a module instance, or '$edgeAgent' for microedge itself")
    call.add_argument("method", metavar="METHOD", help="one of its methods")
    call.add_argument("payload", metavar="JSON", nargs="?", default="null", help="'-' reads it from standard input")
    call.add_argument("--timeout", metavar="S", type=_seconds, default=30.0, help="for the answer, 5-300 (default: 30)")
    call.add_argument(
        "--connect-timeout", metavar="S", type=_seconds, default=0.0, help="for the module to run, 0-300 (default: 0)"
    )


def _add_groups(verbs: _Verbs) -> None:
    _add_queue(verbs.add_group("queue", "look into the store-and-forward queue, send again, throw away"))
    module = verbs.add_group("module", "write and check module images")
    new = module.add("new", "module:new", "write a new module image that already runs", _MODULE_NEW)
    new.add_argument("name", metavar="NAME", help="a lower-case letter, then a-z, 0-9 and _")
    new.add_argument("--dir", metavar="DIR", help="where (default: the configured modules directory)")
    check = module.add_reading("check", "module:check", "check a module image without running it", _MODULE_CHECK)
    check.add_argument("directory", metavar="DIR", help="the directory that holds its module.toml")
    _add_identity(verbs.add_group("identity", "show who the device and its modules are, and replace their keys"))
    _add_twin(verbs.add_group("twin", "look at module twins: what is desired and reported, and set it", _FreeOrder))
    route = verbs.add_group("route", "try routes out")
    test = route.add_reading("test", "route:show", "explain why a route takes a message or not", _ROUTE_TEST)
    test.add_argument("route", metavar="ROUTE", help="a route in quotes, or the name of a configured one")
    test.add_argument("--message", metavar="FILE", required=True, help="the message as JSON; '-' reads standard input")
    serial = verbs.add_group("serial", "look at the serial ports")
    serial.add_reading("list", "serial:show", "list serial ports with the names that survive replugging")


def _add_queue(queue: _Verbs) -> None:
    queue.add_reading("status", "queue:show", "show what waits, for whom and since when")
    where = "upstream, or MODULE/INPUT (default: all)"
    peek = queue.add_reading(
        "peek", "queue_acting:peek", "show the next messages, or dead letters; changes nothing", _QUEUE_PEEK
    )
    peek.add_argument("endpoint", metavar="ENDPOINT", nargs="?", default="", help=where)
    peek.add_argument("--dead", action="store_true", help="dead letters: what failed again and again, or was refused")
    peek.add_argument(
        "-n", "--count", metavar="N", type=_whole, default=10, help="of each endpoint; the last N dead letters"
    )
    replay = queue.add("replay", "queue_acting:replay", "send dead letters again, behind what waits", _QUEUE_REPLAY)
    replay.add_argument("ids", metavar="ID", nargs="*", type=_whole, help="as microedge queue peek --dead shows them")
    replay.add_argument("--endpoint", metavar="E", default="", help="those for upstream, or MODULE/INPUT")
    replay.add_argument("--all", action="store_true", help="all of them")
    purge = queue.add(
        "purge", "queue_acting:purge", "delete messages that wait, or dead letters, for good", _QUEUE_PURGE
    )
    purge.add_argument("endpoint", metavar="ENDPOINT", nargs="?", default="", help=where)
    purge.add_argument("--dead", action="store_true", help="dead letters, not what waits")
    purge.add_argument("--module", metavar="M", default="", help="only what this module sent")
    purge.add_argument("--yes", action="store_true", help="do not ask; needed where nobody can be asked")


def _add_identity(identity: _Verbs) -> None:
    show = identity.add_reading("show", "identity:show", "show generation ids and fingerprints of keys", _IDENTITY_SHOW)
    of = show.add_mutually_exclusive_group()
    of.add_argument("name", metavar="NAME", nargs="?", help="one module, in detail")
    of.add_argument("--device", action="store_true", help="the device itself, in detail")
    show.add_argument("--reveal", action="store_true", help="show the keys themselves: they are passwords")
    rotate = identity.add(
        "rotate", "identity:rotate", "replace one of two keys; the other stays valid", _IDENTITY_ROTATE
    )
    of = rotate.add_mutually_exclusive_group(required=True)
    of.add_argument("name", metavar="NAME", nargs="?", help="a module instance")
    of.add_argument("--device", action="store_true", help="the key of the device itself")
    rotate.add_argument(
        "--which", choices=("primary", "secondary"), default="secondary", help="which key (default: secondary)"
    )


def _add_twin(twin: _Verbs) -> None:
    get = twin.add_reading(
        "get", "twin:get", "show a module's twin; the saved copy if microedge is not running", _TWIN_GET
    )
    get.add_argument("name", metavar="NAME", help="a module instance, or '$edgeAgent' for microedge itself")
    get.add_argument("--blame", action="store_true", help="who set each value, when, and what it was before")
    part = get.add_mutually_exclusive_group()
    for name in ("desired", "reported", "tags"):
        part.add_argument(f"--{name}", dest="part", action="store_const", const=name, default="", help="this part only")
    change = twin.add("set", "twin:change", "change desired properties, or tags", _TWIN_SET)
    change.add_argument("name", metavar="NAME", help="a module instance")
    change.add_argument("changes", metavar="KEY=VALUE", nargs="*", help="or one JSON object; '-' reads it from stdin")
    change.add_argument("--unset", metavar="KEY", action="append", default=[], help="remove KEY; may be repeated")
    change.add_argument("--reset", metavar="KEY", action="append", default=[], help="withdraw what was set here")
    change.add_argument("--tags", action="store_true", help="change the tags, which the module does not see")
    change.add_argument("--replace", action="store_true", help="make this all that is set here, and withdraw the rest")
    history = twin.add_reading(
        "history", "twin:history", "show who changed what and when, and what was refused", _TWIN_HISTORY
    )
    history.add_argument("name", metavar="NAME", help="a module instance")
    history.add_argument("-n", "--lines", metavar="N", type=_whole, default=0, help="the last N entries (default: all)")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected seconds, found {text!r}") from error


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)
