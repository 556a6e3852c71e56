from __future__ import annotations

import pytest

from microedge.config.load import load
from microedge.config.model import Image, Limits, Permissions, Supervision
from microedge.config.plan import InstancePlan
from microedge.errors import ConfigError
from microedge.hub.parser import parse
from microedge.hub.table import RouteTable
from microedge.message import Envelope, Message
from microedge.supervisor.routing import blind_spots, dead_ends, routes_of


def config(tmp_path, routes):
    file = tmp_path / "microedge.toml"
    file.write_text(f'[device]\nid = "d"\n{routes}')
    return load(str(file))


def instance(name, *inputs):
    image = Image(name, "1", name, "main", "/nowhere", inputs=inputs)
    return InstancePlan(name, image, None, Limits(), Supervision(), Permissions(), (), True, {})


def test_without_a_routes_table_everything_goes_upstream(tmp_path):
    routes = routes_of(config(tmp_path, ""))

    assert [route.sink.endpoint for route in routes] == ["$upstream"]
    assert routes[0].source.matches("any", "output")


def test_a_bad_route_names_its_line_in_the_file_and_its_column_in_the_route(tmp_path):
    bad = config(tmp_path, '[routes]\ngood = "FROM /* INTO $upstream"\nbad = "FROM /* INTO upstream"\n')

    with pytest.raises(ConfigError, match=r"microedge\.toml:5: \[routes\] bad = .*\$upstream or .*column 14"):
        routes_of(bad)


@pytest.mark.parametrize(
    ("target", "warning"),
    [
        ("/modules/pump/inputs/commands", []),
        ("/modules/pomp/inputs/commands", ["there is no module pomp"]),
        ("/modules/pump/inputs/orders", ["module pump has no input orders; it has: commands"]),
        ("/modules/lamp/inputs/orders", ["module lamp has no input orders; it has: none"]),
    ],
)
def test_a_route_into_nowhere_is_warned_about(tmp_path, target, warning):
    route = f"[routes]\nr = 'FROM /* INTO BrokeredEndpoint(\"{target}\")'\n"

    found = dead_ends(routes_of(config(tmp_path, route)), [instance("pump", "commands"), instance("lamp")])

    assert len(found) == len(warning)
    assert all(part in text for part, text in zip(warning, found))


def test_a_bad_condition_is_refused_like_any_bad_route(tmp_path):
    bad = config(tmp_path, '[routes]\nhot = "FROM /* WHERE level > 3 INTO $upstream"\n')

    with pytest.raises(ConfigError, match=r"microedge\.toml:4: \[routes\] hot = .*as_number\(level\), at column 15 of"):
        routes_of(bad)


def test_bodies_that_conditions_could_not_read_are_warned_about():
    table = RouteTable([parse("r", "FROM /* WHERE $body.a INTO $upstream")], ttl_s=1)
    assert blind_spots(table) == []
    for encoding in ("", "", "utf-8"):
        envelope = Envelope("o", content_type="application/json", content_encoding=encoding)
        table.decide(Message(envelope, b"x", "m", "s", 1, 0, 0))

    assert blind_spots(table) == [
        "a WHERE asked for $body where it is undefined: messages by reason: content_encoding 2, malformed 1"
    ]
