"""Several modules and routes: the language runs for real, and so does what follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microedge import Message, ModuleClient
from microedge.errors import ModuleImageError, RouteSyntaxError
from microedge.sdk.testing import Hub


def probe(client: ModuleClient) -> None:
    client.on_input("set", lambda message: client.send("readings", message.json()))
    client.on_method("ask", lambda payload: client.invoke("pump", "double", payload).payload)
    client.ready()
    client.run()


def pump(client: ModuleClient) -> None:
    def obey(message: Message) -> None:
        client.send("state", {"on": True, "why": message.json()})
        client.report({"on": True})

    client.on_input("commands", obey)
    client.on_method("double", lambda payload: payload * 2)
    client.ready()
    client.run()


def test_a_route_with_a_condition_brings_messages_from_one_module_to_another() -> None:
    dry = 'FROM /messages/modules/a/outputs/* WHERE $body.x > 3 INTO BrokeredEndpoint("/modules/b/inputs/commands")'
    with Hub(routes={"dry": dry, "told": "FROM /messages/modules/b/* INTO $upstream"}) as hub:
        source = hub.add(probe, name="a", inputs=["set"], outputs=["readings"])
        sink = hub.add(pump, name="b", inputs=["commands"], outputs=["state"])

        source.send("set", {"x": 3})
        assert sink.take_all("state") == []
        source.send("set", {"x": 4})

        assert sink.take("state").json() == {"on": True, "why": {"x": 4}}
        assert [(message.module, message.output) for message in hub.upstream] == [("b", "state")]
        assert [message.json() for message in source.take_all("readings")] == [{"x": 3}, {"x": 4}]
        assert hub.dropped == {"no_route": 1}
        assert hub["b"].reported == {"on": True}


def test_without_routes_everything_goes_upstream_and_with_none_nothing() -> None:
    for routes, count in ((None, 1), ([], 0)):
        with Hub(probe, inputs=["set"], outputs=["readings"], routes=routes) as hub:
            hub.send("set", 1)
            assert len(hub.upstream) == count


def test_a_message_waits_for_a_module_that_is_not_there_until_its_time_is_up() -> None:
    route = 'FROM /messages/modules/a/* INTO BrokeredEndpoint("/modules/b/inputs/commands")'
    with Hub(routes={"r": {"route": route, "ttl_s": 60}}) as hub:
        source = hub.add(probe, name="a", inputs=["set"], outputs=["readings"])
        source.send("set", 1)
        hub.advance(50)
        source.send("set", 2)
        hub.advance(50)

        sink = hub.add(pump, name="b", inputs=["commands"], outputs=["state"])

        assert sink.take("state").json()["why"] == 2
        assert sink.take_all("state") == []
        assert hub.dropped["ttl"] == 1


def test_the_most_urgent_goes_first_after_the_upstream_is_back() -> None:
    routes = {
        "late": {"route": "FROM /messages/modules/*/outputs/readings INTO $upstream", "priority": 9},
        "soon": {"route": "FROM /messages/modules/*/outputs/alarms INTO $upstream", "priority": 0},
    }

    def main(client: ModuleClient) -> None:
        client.wait(1)
        for output in ("readings", "alarms", "readings"):
            client.send(output, 1)

    with Hub(main, name="a", outputs=["readings", "alarms"], routes=routes) as hub:
        hub.go_offline()
        hub.advance(1)
        hub.go_online()

        assert [message.output for message in hub.upstream] == ["alarms", "readings", "readings"]


def test_a_module_calls_another() -> None:
    with Hub() as hub:
        source = hub.add(probe, name="a", inputs=["set"], outputs=["readings"])
        assert source.call("ask", 21).payload["message"].startswith("module pump is not connected")
        hub.add(pump, name="pump", inputs=["commands"], outputs=["state"])

        assert source.call("ask", 21).payload == 42


def test_a_change_of_reported_properties_takes_its_routes() -> None:
    with Hub(routes=["FROM /twinChangeNotifications/* INTO $upstream"]) as hub:
        hub.add(pump, inputs=["commands"], outputs=["state"]).send("commands", 1)

        [change] = hub.upstream
        assert (change.module, json.loads(change.body)) == ("module", {"on": True})


def test_a_route_that_is_none_is_refused_with_the_column() -> None:
    with pytest.raises(RouteSyntaxError, match="route route1: column 25: expected"):
        Hub(routes=["FROM /messages/* INTO   upstream"])


def test_several_modules_have_no_verbs_in_common() -> None:
    with Hub() as hub:
        with pytest.raises(LookupError, match="this hub has 0 modules: none"):
            hub.take("readings")
        hub.add(probe, name="a", inputs=["set"], outputs=["readings"])
        hub.add(pump, name="b", inputs=["commands"], outputs=["state"])
        with pytest.raises(LookupError, match=r'this hub has 2 modules: a, b; say which: hub\["NAME"\]'):
            hub.send("set", 1)
        with pytest.raises(ValueError, match="this hub has that already"):
            hub.add(probe, name="a")


def test_two_instances_of_one_image_do_not_share_their_variables() -> None:
    rate = {"rules": [{"kind": "rate", "interval_s": 10}]}
    with Hub() as hub:
        first, second = (hub.add("filter", name=name, desired=rate) for name in ("one", "two"))
        for module in (first, second):
            module.send("in", {"t": 1})

        assert [len(module.take_all("out")) for module in (first, second)] == [1, 1]


def test_a_whole_configuration_can_be_tested(tmp_path: Path) -> None:
    (tmp_path / "microedge.toml").write_text(
        """
        [device]
        id = "greenhouse-7"
        [modules.sensor]
        image = "simulated_sensor"
        desired = { interval_s = 60 }
        [modules.calm]
        image = "filter"
        desired = { rules = [{ kind = "rate", interval_s = 600 }] }
        [modules.spare]
        image = "filter"
        autostart = false
        [routes]
        measured = 'FROM /messages/modules/sensor/* INTO BrokeredEndpoint("/modules/calm/inputs/in")'
        told = "FROM /messages/modules/calm/outputs/out INTO $upstream"
        """
    )

    with Hub.configured(tmp_path / "microedge.toml") as hub:
        hub.advance(3_599)

        assert len(hub["sensor"].take_all("readings")) == 60
        assert [message.module for message in hub.upstream] == ["calm"] * 6
        with pytest.raises(KeyError):
            hub["spare"]


def test_a_configuration_with_a_mistake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "microedge.toml").write_text("[modules.sensor]\nimage = 'simulated_senso'\n")

    with pytest.raises(ModuleImageError, match="did you mean simulated_sensor"):
        Hub.configured(tmp_path / "microedge.toml")
