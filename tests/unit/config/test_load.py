from __future__ import annotations

import os
from pathlib import Path

import pytest

from microedge.config.load import find, load
from microedge.config.model import Config, Permissions, RouteConfig, StoreConfig, UpstreamConfig
from microedge.errors import ConfigError

MQTT = '[upstream]\ntype = "mqtt"\nurl = "mqtt://broker"\n'
MQTTS = '[upstream]\ntype = "mqtt"\nurl = "mqtts://broker"\n'


def load_text(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = tmp_path / "microedge.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return load(str(file), environ=environ or {}, host_name="pi")


def test_an_empty_file_is_a_whole_configuration(tmp_path: Path) -> None:
    config = load_text(tmp_path, "")

    assert config.device.id == "pi"
    assert config.paths.modules == str(tmp_path / "modules")
    assert config.paths.state == str(tmp_path / "state")
    assert config.upstream == UpstreamConfig(type="none")
    assert config.store == StoreConfig(max_mib=256, keep_free_mib=128, ttl_s=7200, linger_ms=5000)
    assert (config.modules, config.routes, config.has_routes) == ({}, (), False)
    assert config.warnings == ("No [routes]: every output goes INTO $upstream",)


def test_the_example_of_the_reference_is_read_as_it_says(tmp_path: Path) -> None:
    config = load_text(
        tmp_path,
        """
[device]
id = "greenhouse-7"
[paths]
modules = "/srv/modules"
[upstream]
type = "mqtt"
url = "mqtts://broker.example:8884"
[modules.north_probe]
image = "serial_bridge"
restart = "on-failure"
env = { LOG_LEVEL = "info" }
desired = { port = "usb:0403:6001:A50285BI", baud = 9600, framing = "line", decode = "json" }
[modules.north_probe.limits]
memory_mib = 32
[modules.north_probe.supervision]
hang_timeout_s = 0
[modules.north_probe.permissions]
network = true
groups = ["dialout"]
[routes]
telemetry = "FROM /messages/modules/north_probe/outputs/* INTO $upstream"
alarms = { route = 'FROM /messages/* INTO $upstream', priority = 0, ttl_s = -1 }
inherits = { route = '''FROM /messages/*
  INTO $upstream''', ttl_s = 0 }
""",
    )

    upstream, north = config.upstream, config.modules["north_probe"]
    assert (config.device.id, config.paths.modules) == ("greenhouse-7", "/srv/modules")
    assert (upstream.host, upstream.port, upstream.is_tls) == ("broker.example", 8884, True)
    assert (upstream.protocol, upstream.keepalive_s, upstream.topic) == (5, 60, "microedge/{device}/{module}/{output}")
    assert (north.image, north.autostart, north.restart, north.line) == ("serial_bridge", None, "on-failure", 9)
    assert (north.env, north.desired["baud"]) == ({"LOG_LEVEL": "info"}, 9600)
    assert north.limits == {"memory_mib": 32}
    assert north.supervision == {"restart": "on-failure", "hang_timeout_s": 0.0}
    assert north.permissions == Permissions(network=True, groups=("dialout",))
    assert config.routes == (
        RouteConfig("telemetry", "FROM /messages/modules/north_probe/outputs/* INTO $upstream"),
        RouteConfig("alarms", "FROM /messages/* INTO $upstream", priority=0, ttl_s=-1),
        RouteConfig("inherits", "FROM /messages/*   INTO $upstream"),
    )
    assert [route.line for route in config.routes] == [22, 23, 24]
    assert config.warnings == ()


WRONG = [  # text, line, key, words
    ("[stoer]\nmax_mib = 1", 1, "stoer", "did you mean store?"),
    ("store = 5", 1, "store", "expected a table; write [store]"),
    ("[device]\nid = 'a b'", 2, "[device] id", "expected a letter or digit"),
    ("[device]\nname = 'a'", 2, "[device] name", "expected a known key of [device]: id"),
    ("[paths]\nstate = '~/x'", 2, "[paths] state", "expected a path"),
    ("[paths]\nstate = 'modules'", 2, "[paths] state", "another directory than modules"),
    ("[store]\nlinger = 5", 2, "[store] linger", "did you mean linger_ms?"),
    ("[store]\npriorities = 'fair'", 2, "[store] priorities", 'expected "strict" or "weighted"'),
    ("[store]\nlive_lane = 1", 2, "[store] live_lane", "true or false"),
    ("[store]\nlinger_ms = 600_001", 2, "[store] linger_ms", "milliseconds from 0 to 600000; the default is 5000"),
    ("[store]\nmax_mib = '64M'", 2, "[store] max_mib", "found"),
    ("[store]\nttl_s = 0", 2, "[store] ttl_s", "or -1 for never"),
    ("[store]\nkeep_free_mib = -1", 2, "[store] keep_free_mib", "MiB from 0 to"),
    ("[upstream]\nurl = 'mqtt://b'", 1, "[upstream] type", 'expected "none", "file" or "mqtt"; add type'),
    ("[upstream]\ntype = 'mqqt'", 2, "[upstream] type", "did you mean mqtt?"),
    ("[upstream]\ntype = 'none'\npath = 'x'", 3, "[upstream] path", 'path belongs to type = "file"'),
    ("[upstream]\ntype = 'file'\nurl = 'x'", 3, "[upstream] url", 'url belongs to type = "mqtt"'),
    ("[upstream]\ntype = 'file'\nmax_mib = 0", 3, "[upstream] max_mib", "MiB from 1 to"),
    ("[upstream]\ntype = 'file'\nkeep = 0", 3, "[upstream] keep", "from 1 to 1000"),
    ("[upstream]\ntype = 'mqtt'", 1, "[upstream] url", "expected mqtt://HOST[:PORT]"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'b:1883'", 3, "[upstream] url", "write mqtt://b:1883"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'tcp://b'", 3, "[upstream] url", "write mqtt:// for tcp://"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'wss://b/x'", 3, "[upstream] url", "plain MQTT or MQTT over TLS"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://'", 3, "[upstream] url", "the host is missing"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://a b'", 3, "[upstream] url", "the host is missing or not"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://b:0'", 3, "[upstream] url", "from 1 to 65535"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://b:65536'", 3, "[upstream] url", "from 1 to 65535"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://b:x'", 3, "[upstream] url", "only a port may follow"),
    ("[upstream]\ntype = 'mqtt'\nurl = 'mqtt://b/topic'", 3, "[upstream] url", "only a port may follow"),
    (MQTT + "path = 'x'", 4, "[upstream] path", 'expected no such key with type = "mqtt"'),
    (MQTT + "protocol = 4", 4, "[upstream] protocol", "expected 5 or 311"),
    (MQTT + "keepalive_s = 4", 4, "[upstream] keepalive_s", "seconds from 5 to 1177; the default is 60"),
    (MQTT + "topic = 'a/{modul}'", 4, "[upstream] topic", "{device}, {module} and {output}"),
    (MQTT + "topic = 'a/#'", 4, "[upstream] topic", "without the wildcards"),
    (MQTT + "topic = ''", 4, "[upstream] topic", "expected a topic"),
    (MQTT + "envelope = 1", 4, "[upstream] envelope", "true or false"),
    (MQTT + "ca_file = 'ca.pem'", 4, "[upstream] ca_file", "write mqtts:// in url"),
    (MQTTS + "ca_file = 'ca.pem'", 4, "[upstream] ca_file", "a file that can be read"),
    (MQTTS + "key_file = 'k.pem'", 1, "[upstream] cert_file", "that belongs to key_file"),
    (MQTT + "protocol = 311\npassword = 'x'", 1, "[upstream] username", "MQTT 3.1.1 allows no password without"),
    (MQTT + "password = { file = 'none' }", 4, "[upstream.password] file", "no such file or directory"),
    (MQTT + "password = { file = '.' }", 4, "[upstream.password] file", "it is a directory"),
    (MQTT + "password = { env = 'NONE' }", 4, "[upstream.password] env", "a variable that is set"),
    (MQTT + "password = { flie = 'x' }", 4, "[upstream.password] flie", "did you mean file?"),
    (MQTT + "password = {}", 4, "[upstream] password", "either { file"),
    (MQTT + "[upstream.username]\nfile='a'\nenv='b'", 4, "[upstream] username", "either { file"),
    ("modules = []", 1, "modules", "expected a table"),
    ("[modules]\nn = 1", 2, "[modules] n", "write [modules.n] on a line of its own"),
    ("\n[modules.'a b']", 2, '[modules] "a b"', "expected an instance's name"),
    ("[modules.supervisor]", 1, "[modules] supervisor", "expected another name"),
    ("[modules.N]", 1, "[modules.N] image", "add image to [modules.N]"),
    ("[modules.n]\nimage = '../x'", 2, "[modules.n] image", "the name of a module image"),
    ("[modules.n]\nautostart = 'no'", 2, "[modules.n] autostart", "true or false"),
    ("[modules.n]\ndurability = 'ram'", 2, "[modules.n] durability", '"batched", "immediate" or "volatile"'),
    ("[modules.n]\ninput_window = 0", 2, "[modules.n] input_window", "a whole number of messages from 1 to 256"),
    ("[modules.n]\nrestart = 'allways'", 2, "[modules.n] restart", "did you mean always?"),
    ("[modules.n]\nrestart='never'\nsupervision={restart='never'}", 2, "[modules.n] restart", "expected one restart"),
    ("[modules.n]\nenv = { 'A B' = 'x' }", 2, '[modules.n.env] "A B"', "a variable's name"),
    ("[modules.n.env]\nA = 1", 2, "[modules.n.env] A", "expected a string"),
    ("[modules.n.limits]\nmemory_mib = 23", 2, "[modules.n.limits] memory_mib", "MiB from 24 to"),
    ("[modules.n.limits]\nmemory = 64", 2, "[modules.n.limits] memory", "did you mean memory_mib?"),
    ("[modules.n.permissions]\ngroups = ['a b']", 2, "[modules.n.permissions] groups", "names of groups"),
    ("[modules.n.permissions]\nread = ['/a/../b']", 2, "[modules.n.permissions] read", "absolute paths"),
    ("[modules.n.desired]\na = 2020-01-01", 2, "[modules.n.desired] a", "write a date or time as text"),
    ("[modules.n.desired.a]\n'b.c' = 1", 2, '[modules.n.desired.a] "b.c"', "without . $ #"),
    ("[routes]\n'a b' = 'x'", 2, '[routes] "a b"', "expected a route's name"),
    ("[routes]\na = 5", 2, "[routes] a", 'expected "FROM … INTO …", or a table'),
    ("[routes.a]\npriority = 1", 1, "[routes.a] route", "add route to [routes.a]"),
    ("[routes]\na = { route = 'x', priority = 10 }", 2, "[routes.a] priority", "a whole number from 0 to 9"),
    ("[routes]\na = { route = 'x', ttl_s = -2 }", 2, "[routes.a] ttl_s", "or -1 for never"),
    ("[routes]\na = { route = 'x', timeToLiveSecs = 1 }", 2, "[routes.a] timeToLiveSecs", "route, priority, ttl_s"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), WRONG)
def test_each_wrong_value_is_located_and_says_what_to_write(
    tmp_path: Path, text: str, line: int, key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)

    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/microedge.toml:{line}: {key} = ")
    assert words in message or words == "found"
    assert "\n" not in message
    assert (caught.value.line, caught.value.key, caught.value.exit_code) == (line, key, 78)


@pytest.mark.parametrize(
    "text",
    [
        "[upstream]\ntype = 'mqtt'\nurl = 'mqtt://user:hunter2@broker'",
        "[upstream]\ntype = 'mqtt'\nurl = 'user:hunter2@broker:1883'",
        "[upstream]\ntype = 'mqtt'\nurl = 'mqtt://user:hun/hunter2@broker'",
        "[upstream]\ntype = 'mqtt'\nurl = 'x:hunter2@y://broker'",
        "[upstream]\ntype = 'mqtt'\npasword = 'hunter2'",
        "[upstream]\ntype = 'file'\npassword = 'hunter2'",
        MQTT + "password = ['hunter2']",
        MQTT + 'password = "hunter2\\u0000"',
        MQTT + "password = 'hunter2'\npassword = 'hunter2'",
        MQTT + "password = hunter2",
        MQTT + "topic = 5\npassword = 'hunter2'",
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)

    assert "hunter2" not in str(caught.value)


def test_a_secret_may_stand_in_the_file_in_another_file_or_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"from file\n")
    text = MQTTS + "username = { env = 'USER_NAME' }\npassword = { file = 'secret' }\n[modules.n.env]\nA = 'written'\n"

    config = load_text(tmp_path, text, {"USER_NAME": "from environment"})

    assert (config.upstream.username, config.upstream.password) == ("from environment", "from file")
    assert config.modules["n"].env == {"A": "written"}
    assert "from file" not in repr(config)
    assert "written" not in repr(config)


@pytest.mark.parametrize(
    ("content", "secret"), [(b"x", "x"), (b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b" x ", " x ")]
)
def test_a_secret_file_loses_one_newline_and_nothing_else(tmp_path: Path, content: bytes, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content)

    assert load_text(tmp_path, MQTTS + "password = { file = 'secret' }").upstream.password == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"a\0b", b"x" * 65_537])
def test_a_secret_file_without_a_usable_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(ConfigError, match=r"microedge.toml:4: \[upstream.password\] file = 'secret': expected a text"):
        load_text(tmp_path, MQTTS + "password = { file = 'secret' }")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", ("broker", 1883, False)),
        ("mqtts://broker", ("broker", 8883, True)),
        ("MQTTS://Broker.Example:1/", ("Broker.Example", 1, True)),
        ("mqtt://192.168.1.2:65535", ("192.168.1.2", 65535, False)),
        ("mqtt://[fe80::1%eth0]:1884", ("fe80::1%eth0", 1884, False)),
        ("mqtt://my_broker.local.", ("my_broker.local.", 1883, False)),
    ],
)
def test_a_url_gives_host_port_and_encryption(tmp_path: Path, url: str, address: tuple[str, int, bool]) -> None:
    upstream = load_text(tmp_path, f"[upstream]\ntype = 'mqtt'\nurl = '{url}'").upstream

    assert (upstream.host, upstream.port, upstream.is_tls) == address


def test_the_file_upstream_writes_into_the_state_directory_unless_told_otherwise(tmp_path: Path) -> None:
    usual = load_text(tmp_path, "[upstream]\ntype = 'file'").upstream
    other = load_text(tmp_path, "[upstream]\ntype = 'file'\npath = '/mnt/log.jsonl'\nmax_mib = 1\nkeep = 2").upstream

    assert usual == UpstreamConfig(type="file", path=str(tmp_path / "state/upstream.jsonl"), max_mib=16, keep=4)
    assert other == UpstreamConfig(type="file", path="/mnt/log.jsonl", max_mib=1, keep=2)


def test_a_host_name_that_is_no_device_id_asks_for_one(tmp_path: Path) -> None:
    file = tmp_path / "microedge.toml"
    file.write_text("")

    with pytest.raises(ConfigError, match=r"the host name 'pi 4!' cannot stand in for it; write \[device\] id"):
        load(str(file), host_name="pi 4!")


def test_a_password_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "microedge.toml"
    file.write_text(MQTT + "username = 'u'\npassword = 'x'\n[routes]")
    file.chmod(0o644)

    clear, readable, empty = load(str(file), host_name="pi").warnings

    assert "unencrypted to broker: use mqtts://" in clear
    assert f"chmod 640 {file}" in readable
    assert empty == "[routes] is empty: no message goes anywhere"


def test_a_local_broker_needs_no_encryption(tmp_path: Path) -> None:
    text = "[upstream]\ntype = 'mqtt'\nurl = 'mqtt://127.0.0.1'\nusername = 'u'\npassword = 'x'\n[routes]\na = 'x'"

    assert load_text(tmp_path, text).warnings == ()


def test_a_table_that_only_moved_is_the_same_instance(tmp_path: Path) -> None:
    before = load_text(tmp_path, "[modules.n]\n[routes]\na = 'x'")
    after = load_text(tmp_path, "\n\n[modules.n]\n\n[routes]\na = 'x'")

    assert before == after


def test_the_configuration_is_found_in_the_documented_order(tmp_path: Path) -> None:
    system = tmp_path / "system.toml"
    system.write_text("")
    cwd = tmp_path / "cwd"
    cwd.mkdir()

    def found(option: str | None, environ: dict[str, str]) -> str:
        return os.path.relpath(find(option, environ, str(cwd), system_file=str(system)), tmp_path)

    assert found(None, {}) == "system.toml"
    (cwd / "microedge.toml").write_text("")
    assert found(None, {}) == "cwd/microedge.toml"
    assert found(None, {"MICROEDGE_CONFIG": "v.toml"}) == "cwd/v.toml"
    assert found("../o.toml", {"MICROEDGE_CONFIG": "v.toml"}) == "o.toml"


def test_without_any_configuration_the_error_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found no configuration: expected microedge.toml here.*microedge init"):
        find(None, {}, str(tmp_path), system_file=str(tmp_path / "none"))
