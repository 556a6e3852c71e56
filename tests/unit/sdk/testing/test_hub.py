"""One module in the hub for tests: messages, twin, methods, and how its mistakes reach its author."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from microedge import Message, MethodResponse, ModuleClient
from microedge.errors import LocalProtocolError, ModuleImageError, TwinError
from microedge.sdk.testing import Hub

PORTS: dict[str, Any] = {"inputs": ["commands"], "outputs": ["readings", "alarms"]}


def echo(client: ModuleClient) -> None:
    client.on_input("commands", lambda message: client.send("readings", message.json(), properties=message.properties))
    client.ready()
    client.run()


# --- Messages ---


def test_what_a_module_makes_of_a_message_can_be_taken_at_once() -> None:
    with Hub(echo, **PORTS) as hub:
        hub.send("commands", {"celsius": 21}, properties={"unit": "Cel"}, sender="north/readings")

        message = hub.take("readings")
        assert (message.module, message.output, message.properties) == ("module", "readings", {"unit": "Cel"})
        assert (message.body, message.content_type) == (b'{"celsius":21}', "application/json")
        assert [each.message_id for each in hub.upstream] == [message.message_id] == ["module-1-1"]


def test_a_message_says_who_sent_it() -> None:
    seen = []

    def main(client: ModuleClient) -> None:
        client.on_input("commands", seen.append)
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        hub.send("commands", b"\x00", sender="north/raw")
        hub.send("commands", "text")

    assert [(each.module, each.output, each.input, each.body) for each in seen] == [
        ("north", "raw", "commands", b"\x00"),
        ("test", "out", "commands", b"text"),
    ]
    assert [each.content_type for each in seen] == ["", "text/plain"]


def test_messages_are_taken_in_order_and_once() -> None:
    with Hub(echo, **PORTS) as hub:
        for number in range(3):
            hub.send("commands", number)

        assert hub.take("readings").json() == 0
        assert [message.json() for message in hub.take_all("readings")] == [1, 2]
        assert hub.take_all("readings") == []


def test_taking_in_vain_says_all_that_is_known() -> None:
    def main(client: ModuleClient) -> None:
        client.log.warning("no probe")
        client.send("readings", {"celsius": 21})
        client.wait(30)

    with Hub(main, **PORTS) as hub:
        hub.advance(5)
        hub.send("commands", {"on": True})
        with pytest.raises(AssertionError) as failed:
            hub.take("alarms")

    text = re.sub(r'File ".*", line \d+', "File", str(failed.value))
    assert text.splitlines() == [
        "module module has sent nothing on 'alarms' that was not taken; 5 s have passed",
        "  sent on 'readings', not taken: 1, the last {\"celsius\":21}",
        "  it waits until 30 s, and has not called ready(), so nothing is delivered to it; it is at",
        "  File, in main",
        "    client.wait(30)",
        "  waiting for its input 'commands': 1",
        "  its log:",
        "    W no probe",
    ]


def test_a_port_that_the_manifest_does_not_have_is_named_with_those_that_it_has() -> None:
    with Hub(echo, **PORTS) as hub:
        with pytest.raises(LocalProtocolError, match=r"input 'command': expected one of .*: commands"):
            hub.send("command", 1)
        with pytest.raises(LocalProtocolError, match=r"output 'reading': expected one of .*: readings, alarms"):
            hub.take("reading")
        with pytest.raises(LocalProtocolError, match=r"output 'reading'"):
            hub.take_all("reading")


def test_a_module_cannot_send_on_an_output_that_it_does_not_have() -> None:
    with (
        pytest.raises(LocalProtocolError, match="output 'reading': expected one of"),
        Hub(lambda client: client.send("reading", 1), **PORTS),
    ):
        pass


@pytest.mark.parametrize("size", [262_144, 300_000])
def test_a_message_that_is_too_large_is_refused_on_both_ways(size: int) -> None:
    def main(client: ModuleClient) -> None:
        client.on_method("send", lambda payload: client.send("readings", b"x" * size))
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(LocalProtocolError, match="expected at most 262144"):
            hub.send("commands", b"x" * size)
        with pytest.raises(LocalProtocolError, match="expected at most 262144"):
            hub.call("send")


def test_large_messages_pass_in_both_directions() -> None:
    with Hub(echo, **PORTS) as hub:
        for _ in range(8):
            hub.send("commands", ["x" * 200_000])

        assert [len(message.body) for message in hub.take_all("readings")] == [200_004] * 8


def test_a_burst_larger_than_the_window_goes_through() -> None:
    def main(client: ModuleClient) -> None:
        for number in range(1_000):
            client.send("readings", number)

    with Hub(main, **PORTS) as hub:
        assert [message.json() for message in hub.take_all("readings")] == list(range(1_000))
        assert hub.exit_code == 0


def test_without_an_upstream_the_window_fills_until_the_card_has_it() -> None:
    def main(client: ModuleClient) -> None:
        client.wait(1)
        for number in range(300):
            client.send("readings", number)
        client.wait(3_600)

    with Hub(main, **PORTS) as hub:
        hub.go_offline()
        hub.advance(5.9)
        assert len(hub.take_all("readings")) == 256

        hub.advance(0.1)
        assert len(hub.take_all("readings")) == 44
        assert hub.upstream == []

        hub.go_online()
        assert [message.json() for message in hub.upstream] == list(range(300))


def test_flush_waits_for_the_acknowledgement_in_virtual_time() -> None:
    answers = []

    def main(client: ModuleClient) -> None:
        client.wait(1)
        client.send("readings", 1)
        answers.append(client.flush(2))
        client.send("readings", 2, durability="immediate")
        client.send("readings", 3, durability="volatile")
        answers.append(client.flush(10))

    with Hub(main, **PORTS) as hub:
        hub.go_offline()
        hub.advance(20)

    assert answers == [False, True]


# --- What goes wrong ---


def test_an_exception_of_main_comes_out_with_the_traceback_of_the_module() -> None:
    def main(client: ModuleClient) -> None:
        client.every(10, lambda: 1 // 0)
        client.run()

    with Hub(main, **PORTS) as hub:
        hub.advance(9)
        with pytest.raises(ZeroDivisionError) as failed:
            hub.advance(5)

        assert hub.elapsed_s == 14
        assert [entry.name for entry in failed.traceback][-1] == "<lambda>"
        assert "main" in [entry.name for entry in failed.traceback]
        assert hub.exit_code == 1


def test_an_exception_at_the_start_comes_out_of_the_with_statement() -> None:
    def main(client: ModuleClient) -> None:
        raise RuntimeError("no probe")

    with pytest.raises(RuntimeError, match="no probe"), Hub(main, **PORTS):
        pytest.fail("the block was entered")


def test_an_exception_while_it_stops_comes_out_at_the_end_of_the_block() -> None:
    def main(client: ModuleClient) -> None:
        client.run()
        raise RuntimeError("cannot close")

    with pytest.raises(RuntimeError, match="cannot close"), Hub(main, **PORTS):
        pass


def test_what_fails_in_the_test_is_not_hidden_by_what_the_module_does_then() -> None:
    def main(client: ModuleClient) -> None:
        try:
            client.run()
        finally:
            raise RuntimeError("cannot close")

    with pytest.raises(KeyError, match="mine"), Hub(main, **PORTS):
        raise KeyError("mine")


@pytest.mark.parametrize(("argument", "code"), [(78, 78), ("words", 1)])
def test_sys_exit_comes_out_with_its_code(argument: object, code: int) -> None:
    def main(client: ModuleClient) -> None:
        client.wait(5)
        sys.exit(argument)  # type: ignore[arg-type]

    with Hub(main, **PORTS) as hub:
        with pytest.raises(SystemExit) as stop:
            hub.advance(5)

        assert stop.value.code == argument
        assert hub.exit_code == code


@pytest.mark.parametrize("argument", [0, None])
def test_sys_exit_without_a_mistake_is_the_end_of_main_like_any_other(argument: object) -> None:
    with Hub(lambda client: sys.exit(argument), **PORTS) as hub:  # type: ignore[arg-type]
        assert hub.exit_code == 0


def test_a_message_that_fails_comes_out_and_comes_again_and_is_set_aside() -> None:
    def main(client: ModuleClient) -> None:
        client.on_input("commands", lambda message: client.send("readings", 1 / message.json()))
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(ZeroDivisionError):
            hub.send("commands", 0)
        hub.send("commands", 2)
        assert hub.take_all("readings") == []  # it waits behind the one that failed

        hub.advance(0.9)
        for pause_s in (0.1, 2, 4, 8):
            assert hub.dead == []
            with pytest.raises(ZeroDivisionError):
                hub.advance(pause_s)

        assert hub.take("readings").json() == 0.5
        [dead] = hub.dead
        assert (dead.message.json(), dead.reason, dead.text) == (0, "poison", "ZeroDivisionError: division by zero")
        assert hub.dropped == {"poison": 1}


def test_a_message_that_failed_once_is_handled_after_a_second() -> None:
    failures = [RuntimeError("busy")]

    def obey(message: Message) -> None:
        if failures:
            raise failures.pop()

    def main(client: ModuleClient) -> None:
        client.on_input("commands", obey)
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(RuntimeError, match="busy"):
            hub.send("commands", 1)
        hub.advance(1)

        assert hub.dead == []


def test_a_module_that_hangs_is_named_with_the_place() -> None:
    def main(client: ModuleClient) -> None:
        while not is_over:
            pass

    is_over: list[bool] = []
    hub = Hub(main, **PORTS, patience_s=0.05)
    threading.Timer(0.3, lambda: is_over.append(True)).start()

    with pytest.raises(AssertionError, match=r"module module hangs: for patience_s=0.05 (.|\n)*in main"), hub:
        pass


def test_a_module_that_waits_for_nothing_in_a_loop_is_named_with_the_place() -> None:
    def main(client: ModuleClient) -> None:
        while client.wait(0):
            pass

    with pytest.raises(AssertionError, match=r"waits for 0 s again and again(.|\n)*in main"), Hub(main, **PORTS):
        pass


def test_a_module_that_does_not_stop_is_named_with_the_place() -> None:
    def main(client: ModuleClient) -> None:
        while True:
            client.wait(1)
            time.sleep(1)

    with (
        pytest.raises(AssertionError, match=r"did not return from main within stop_timeout_s=10(.|\n)*sleep"),
        Hub(main, **PORTS),
    ):
        pass


# --- Twin ---


def test_desired_properties_are_those_of_the_manifest_with_those_of_the_test_over_them(tmp_path: Path) -> None:
    directory = image(tmp_path, "def main(client): client.log.info(client.desired['unit'])")

    with Hub(directory, desired={"limit": 30, "unit": "K"}) as hub:
        assert hub.desired == {"limit": 30, "interval_s": 5, "unit": "K"}
        assert hub.log == ["K"]


def test_a_module_hears_of_changed_desired_properties() -> None:
    heard: list[Any] = []

    def main(client: ModuleClient) -> None:
        client.on_desired(lambda patch, desired: heard.append((dict(patch), desired)))
        client.ready()
        client.run()

    with Hub(main, **PORTS, desired={"limit": 30, "unit": "C"}) as hub:
        heard.clear()
        hub.set_desired({"limit": 40, "unit": None})

        assert hub.desired == {"limit": 40}
        version = heard[0][0]["$version"]
        assert heard == [({"limit": 40, "unit": None, "$version": version}, {"limit": 40})]


def test_what_a_module_reports_is_merged() -> None:
    def main(client: ModuleClient) -> None:
        client.report({"firmware": "1.2", "probe": {"state": "ok"}})
        client.report({"probe": None})
        assert client.reported == {"firmware": "1.2"}

    with Hub(main, **PORTS) as hub:
        assert hub.reported == {"firmware": "1.2"}


def test_the_limits_of_a_twin_hold() -> None:
    def main(client: ModuleClient) -> None:
        with pytest.raises(TwinError, match=r"properties\.reported"):
            client.report({"a.b": 1})
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(TwinError):
            hub.set_desired({"$x": 1})
        with pytest.raises(TwinError):
            hub.set_desired({"text": "x" * 40_000})
        assert (hub.desired, hub.reported) == ({}, {})
    with pytest.raises(TwinError), Hub(main, **PORTS, desired={"text": "x" * 40_000}):
        pass


# --- Methods ---


def test_a_method_is_called_and_answers() -> None:
    def main(client: ModuleClient) -> None:
        client.on_method("double", lambda payload: payload * 2)
        client.on_method("refuse", lambda payload: MethodResponse(409, "busy"))
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        assert hub.call("double", 21) == MethodResponse(200, 42)
        assert hub.call("refuse") == MethodResponse(409, "busy")
        assert hub.call("triple").status == 404


def test_an_exception_of_a_method_comes_out() -> None:
    def main(client: ModuleClient) -> None:
        client.on_method("divide", lambda payload: 1 // payload)
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(ZeroDivisionError):
            hub.call("divide", 0)
        assert hub.call("divide", 1) == MethodResponse(200, 1)


def test_a_method_takes_the_virtual_time_that_it_takes() -> None:
    def main(client: ModuleClient) -> None:
        client.on_method("slow", client.wait)
        client.ready()
        client.run()

    with Hub(main, **PORTS) as hub:
        assert hub.call("slow", 20) == MethodResponse(200, True)
        assert hub.elapsed_s == pytest.approx(20)
        assert hub.call("slow", 20, timeout_s=10).status == 504
        assert hub.elapsed_s == pytest.approx(30)
        hub.advance(20)


def test_a_module_that_is_not_ready_has_no_methods() -> None:
    with Hub(lambda client: client.wait(3_600), **PORTS) as hub:
        assert hub.call("double", 21).status == 404


# --- Its own surroundings ---


def image(parent: Path, code: str, *, name: str = "probe") -> Path:
    directory = parent / name
    directory.mkdir(parents=True)
    manifest = f'[module]\nschema = 1\nname = "{name}"\nversion = "1"\n[ports]\noutputs = ["readings"]\n'
    (directory / "module.toml").write_text(f'{manifest}[desired]\ninterval_s = 5\nunit = "C"\n')
    (directory / "__init__.py").write_text(code)
    return directory


def test_a_module_is_imported_anew_for_each_hub_and_leaves_no_import_behind(tmp_path: Path) -> None:
    code = "from .count import up\ndef main(client):\n    client.send('readings', up())\n"
    directory = image(tmp_path, code)
    (directory / "count.py").write_text("n = 0\ndef up():\n    global n\n    n += 1\n    return n\n")
    before = set(sys.modules), list(sys.path)

    for _ in range(2):
        with Hub(directory) as hub:
            assert hub.take("readings").json() == 1
            assert (set(sys.modules), sys.path) == before

    assert (set(sys.modules), sys.path) == before


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("import nowhere", 78), ("def main(client) return", 78), ("1 / 0", 1), ("def main(client): import nowhere", 1)],
)
def test_code_that_cannot_be_loaded_ends_as_it_would_on_a_device(tmp_path: Path, code: str, exit_code: int) -> None:
    hub = Hub(image(tmp_path, code))

    with pytest.raises((ImportError, SyntaxError, ZeroDivisionError)), hub:
        pass
    assert hub.exit_code == exit_code


def test_vendored_dependencies_are_found(tmp_path: Path) -> None:
    code = "def main(client):\n    import vendored_thing\n    client.send('readings', vendored_thing.ANSWER)\n"
    directory = image(tmp_path, code)
    (directory / "lib").mkdir()
    (directory / "lib" / "vendored_thing.py").write_text("ANSWER = 42\n")

    with Hub(directory) as hub:
        assert hub.take("readings").json() == 42
    assert "vendored_thing" not in sys.modules


def test_a_manifest_is_read_as_strictly_as_ever(tmp_path: Path) -> None:
    directory = image(tmp_path, "")
    with (directory / "module.toml").open("a") as manifest:
        manifest.write("[port]\n")

    with pytest.raises(ModuleImageError, match="did you mean ports"), Hub(directory):
        pass


def test_what_a_module_prints_is_in_its_log_and_on_the_test_s_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def main(client: ModuleClient) -> None:
        client.log.error("no %s", "probe")
        client.log.debug("hidden")
        print("half", end=" ")
        print("a line")

    with Hub(main, **PORTS) as hub:
        pass

    assert [(line, line.level) for line in hub.log] == [("no probe", "error"), ("half a line", "info")]
    assert capsys.readouterr() == ("", "<3>no probe\nhalf a line\n")


def test_environment_and_directory_are_the_module_s_own_while_it_runs() -> None:
    seen = []

    def main(client: ModuleClient) -> None:
        client.log.debug("shown")
        client.wait(1)
        seen.append((os.environ["PROBE"], os.getcwd() == client.data_dir))
        Path("state").write_text("1")

    directory = os.getcwd()
    with Hub(main, **PORTS, env={"PROBE": "7", "LOG_LEVEL": "debug"}) as hub:
        assert (os.getcwd(), "PROBE" in os.environ, hub.log) == (directory, False, ["shown"])
        hub.advance(1)

    assert seen == [("7", True)]
    assert not Path("state").exists()


def test_a_restart_keeps_twin_and_data_and_brings_again_what_was_under_way() -> None:
    def main(client: ModuleClient) -> None:
        runs = client.reported.get("runs", 0) + 1
        client.report({"runs": runs})
        Path(client.data_dir, f"run{runs}").touch()
        client.send("alarms", sorted(os.listdir(client.data_dir)))
        client.on_input("commands", obey)
        client.ready()
        client.run()

    def obey(message: Message) -> None:
        if failures:
            sys.exit(failures.pop())

    failures = [3]
    with Hub(main, **PORTS) as hub:
        with pytest.raises(SystemExit):
            hub.send("commands", 1)
        assert hub.exit_code == 3

        hub.restart()

        assert (hub.exit_code, hub.reported) == (None, {"runs": 2})
        assert hub.take_all("alarms")[-1].json() == ["run1", "run2"]
        assert (failures, hub.dead) == ([], [])
