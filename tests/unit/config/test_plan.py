from __future__ import annotations

import pytest

from microedge.config.discovery import Discovery, Entry
from microedge.config.model import (
    Config,
    DeviceConfig,
    Image,
    InstanceConfig,
    Limits,
    PathsConfig,
    Permissions,
    Supervision,
)
from microedge.config.plan import InstancePlan, granted, plan
from microedge.errors import ModuleImageError


def image(name: str, origin: str = "dropped-in", **more: object) -> Image:
    return Image(name, "1.0", name, "main", f"/modules/{name}", origin, **more)  # type: ignore[arg-type]


def config(*instances: InstanceConfig) -> Config:
    device, paths = DeviceConfig("d"), PathsConfig("/modules", "/state")
    return Config("m.toml", device, paths, modules={one.name: one for one in instances}, has_routes=True)


def discovery(*images: Image, **more: object) -> Discovery:
    return Discovery({one.name: one for one in images}, **more)  # type: ignore[arg-type]


def test_a_dropped_in_image_becomes_an_instance_of_its_name() -> None:
    probe = image("probe")

    planned = plan(config(), discovery(probe))

    assert planned.instances == (
        InstancePlan("probe", probe, None, Limits(), Supervision(), Permissions(), (), True, {}),
    )
    assert (planned.rejected, planned.warnings) == ((), ())


@pytest.mark.parametrize(
    ("instances", "images", "names"),
    [
        ([], [image("bridge", "bundled")], []),
        ([InstanceConfig("bridge", "bridge")], [image("bridge", "bundled")], ["bridge"]),
        ([InstanceConfig("n", "bridge"), InstanceConfig("s", "bridge")], [image("bridge", "bundled")], ["n", "s"]),
        ([InstanceConfig("n", "probe")], [image("probe")], ["n"]),
        ([InstanceConfig("n", "probe"), InstanceConfig("probe", "probe")], [image("probe")], ["n", "probe"]),
        ([InstanceConfig("n", "probe")], [image("probe"), image("other")], ["n", "other"]),
        ([InstanceConfig("probe", "other")], [image("probe"), image("other")], ["probe"]),
    ],
)
def test_which_instances_there_are(instances: list[InstanceConfig], images: list[Image], names: list[str]) -> None:
    assert [one.name for one in plan(config(*instances), discovery(*images)).instances] == names


def test_an_instance_with_autostart_false_is_known_but_does_not_start() -> None:
    (instance,) = plan(config(InstanceConfig("probe", "probe", autostart=False)), discovery(image("probe"))).instances

    assert instance.autostart is False


def test_the_operator_overrides_the_image_key_by_key() -> None:
    probe = image("probe", limits=Limits(memory_mib=32), supervision=Supervision(start_order=5))
    written = InstanceConfig("n", "probe", env={"A": "b"}, limits={"open_files": 99}, supervision={"restart": "never"})

    (instance,) = plan(config(written), discovery(probe)).instances

    assert instance.limits == Limits(memory_mib=32, open_files=99)
    assert instance.supervision == Supervision(restart="never", start_order=5)
    assert (instance.env, instance.config) == ({"A": "b"}, written)


@pytest.mark.parametrize(("written", "asked", "expected"), [(None, 4, 4), (1, 4, 1)])
def test_the_operator_overrides_the_window_of_the_image(written: int | None, asked: int, expected: int) -> None:
    one = InstanceConfig("n", "probe", input_window=written)

    (instance,) = plan(config(one), discovery(image("probe", input_window=asked))).instances

    assert instance.input_window == expected


@pytest.mark.parametrize(("written", "expected"), [(None, "batched"), ("volatile", "volatile")])
def test_messages_are_batched_unless_the_operator_says_otherwise(written: str | None, expected: str) -> None:
    (instance,) = plan(config(InstanceConfig("n", "probe", durability=written)), discovery(image("probe"))).instances

    assert instance.durability == expected


def test_instances_start_by_their_order_then_by_name() -> None:
    late = image("a", supervision=Supervision(start_order=200))

    planned = plan(config(), discovery(late, image("c"), image("b")))

    assert [one.name for one in planned.instances] == ["b", "c", "a"]


def test_a_permission_needs_both_the_image_that_asks_and_the_operator_who_grants() -> None:
    asked = Permissions(network=True, groups=("dialout", "i2c"), read=("/sys/bus/w1/devices", "/etc"))
    allowed = Permissions(groups=("i2c", "video"), read=("/sys/bus/w1", "/opt"))
    written = InstanceConfig("n", "probe", permissions=allowed)

    planned = plan(config(written), discovery(image("probe", permissions=asked)))

    assert planned.instances[0].permissions == Permissions(False, ("i2c",), ("/sys/bus/w1/devices",))
    assert planned.instances[0].withheld == ("network", "group dialout", "reading /etc")
    assert planned.warnings == (
        "[modules.n.permissions] grants group video, which the image probe does not ask for",
        "[modules.n.permissions] grants reading /opt, which the image probe does not ask for",
    )


def test_granting_a_directory_does_not_grant_one_whose_name_begins_alike() -> None:
    def read(path: str, root: str) -> tuple[str, ...]:
        return granted(Permissions(read=(path,)), Permissions(read=(root,))).read

    assert read("/sys/bus2", "/sys/bus") == ()
    assert read("/sys/bus", "/sys/bus/") == ("/sys/bus",)
    assert read("/sys/bus", "/") == ("/sys/bus",)
    assert read("/sys", "/sys/bus") == ()


def test_an_instance_without_an_image_gets_one_line_and_the_others_go_on() -> None:
    error = ModuleImageError("/modules/bad/module.toml", "found nothing")
    found = discovery(image("probe"), rejected=(error,), dropped_in={"bad": Entry("", error=error)})
    wanted = [InstanceConfig("a", "prob", line=3), InstanceConfig("b", "bad", line=5), InstanceConfig("c", "xyz")]

    planned = plan(config(*wanted, InstanceConfig("p", "probe")), found)

    assert [one.name for one in planned.instances] == ["p"]
    assert [str(one) for one in planned.rejected] == [
        "/modules/bad/module.toml: found nothing",
        "m.toml:3: [modules.a] image = 'prob': expected an image that exists; did you mean probe?",
        "m.toml:5: [modules.b] image = 'bad': expected a usable image; see /modules/bad/module.toml",
        "m.toml: [modules.c] image = 'xyz': expected an image that exists;"
        " put its directory into the modules directory",
    ]


def test_an_instance_of_an_image_that_is_being_copied_waits_and_is_not_rejected() -> None:
    planned = plan(config(InstanceConfig("n", "probe")), discovery(incomplete=("probe",)))

    assert (planned.instances, planned.rejected) == ((), ())
    assert planned.warnings == ("[modules.n] waits until the image probe is complete",)


def test_an_image_whose_name_another_instance_took_is_mentioned() -> None:
    planned = plan(config(InstanceConfig("probe", "other")), discovery(image("probe"), image("other")))

    assert planned.warnings == ("image probe has no instance: [modules.probe] runs the image other",)
