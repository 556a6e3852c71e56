from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from microedge.config.image import read_image
from microedge.config.model import Image, Limits, Permissions, Supervision
from microedge.errors import ModuleImageError

HEAD = '[module]\nschema = 1\nname = "probe"\nversion = "1.0"\n'  # 4 lines


def write_image(root: Path, manifest: str, name: str = "probe") -> str:
    directory = root / name
    (directory / "sub").mkdir(parents=True)
    (directory / "__init__.py").write_text("raise RuntimeError('module code was run')")
    (directory / "sub" / "__init__.py").touch()
    (directory / "sub" / "deep.py").touch()
    (directory / "module.toml").write_text(manifest, encoding="utf-8")
    return str(directory)


def test_the_shortest_manifest_has_every_default(tmp_path: Path) -> None:
    directory = write_image(tmp_path, HEAD)

    assert read_image(directory) == Image("probe", "1.0", "probe", "main", directory)
    assert Limits() == Limits(memory_mib=64, processes=8, open_files=64, cpu_weight=100)


def test_every_key_of_a_manifest_is_read(tmp_path: Path) -> None:
    directory = write_image(
        tmp_path,
        HEAD
        + """
entry = "probe.sub.deep:go"
description = "Reads the probe"
python = ">=3.9"
requires = ["smbus2>=0.4"]
shared = true
launch = "exec"
preload = ["json", "xml.dom"]
[ports]
inputs = ["commands"]
outputs = ["readings", "alarms"]
[desired]
interval_s = 5
[permissions]
network = true
groups = ["dialout"]
read = ["/sys/bus/w1"]
[limits]
memory_mib = 24
processes = 1
open_files = 16
cpu_weight = 1
[supervision]
restart = "never"
start_order = 0
ready_timeout_s = 1.5
stop_timeout_s = 2
hang_timeout_s = 0
""",
    )

    assert read_image(directory, origin="bundled") == Image(
        name="probe",
        version="1.0",
        entry_module="probe.sub.deep",
        entry_function="go",
        directory=directory,
        origin="bundled",
        description="Reads the probe",
        python=">=3.9",
        requires=("smbus2>=0.4",),
        shared=True,
        launch="exec",
        preload=("json", "xml.dom"),
        inputs=("commands",),
        outputs=("readings", "alarms"),
        desired={"interval_s": 5},
        permissions=Permissions(True, ("dialout",), ("/sys/bus/w1",)),
        limits=Limits(24, 1, 16, 1),
        supervision=Supervision("never", 0, 1.5, 2, 0),
    )


@pytest.mark.parametrize(
    ("manifest", "line", "reason"),
    [
        ("", 0, "[module] schema = (missing): expected a whole number"),
        (
            "[module]\nschema = 2\nnew = 1",
            2,
            "[module] schema = 2: expected 1; this image is made for a newer microedge",
        ),
        ('[module]\nschema = "1"', 2, "[module] schema = '1': expected"),
        ("[module]\nschema = 1", 1, '[module] name = (missing): expected "probe", the name of its directory'),
        (HEAD.replace('"probe"', '"Probe"'), 3, "[module] name = 'Probe': expected \"probe\""),
        (HEAD.replace('"1.0"', "1.0"), 4, "[module] version = 1.0: expected a string"),
        (HEAD.replace('"1.0"', '"one two"'), 4, "[module] version = 'one two': expected a version such as"),
        (HEAD + 'colour = "x"', 5, "[module] colour = …: expected a known key of [module]"),
        (HEAD + "[port]", 5, "port = …: expected a known key: module, ports"),
        (HEAD + "ports = 1", 5, "[module] ports = …: expected a known key"),
        (HEAD + "entry = 'main'", 5, "[module] entry = 'main': expected MODULE:FUNCTION"),
        (HEAD + "entry = 'os:system'", 5, "[module] entry = 'os:system': expected a module of the image's own package"),
        (HEAD + "entry = 'probe..x:main'", 5, "[module] entry = 'probe..x:main': expected MODULE:FUNCTION"),
        (HEAD + "entry = 'probe.no:main'", 5, "expected a file probe/no/__init__.py or probe/no.py"),
        (HEAD + "entry = 'probe.no.x:main'", 5, "expected a file probe/no/__init__.py"),
        (HEAD + "python = '>=9'", 5, "[module] python = '>=9': expected a range that includes 3."),
        (HEAD + "python = '3.9'", 5, "[module] python = '3.9': expected version ranges such as"),
        (HEAD + "requires = 'x'", 5, "[module] requires = 'x': expected a list"),
        (HEAD + "requires = ['x y']", 5, "[module] requires = 'x y': expected requirements such as"),
        (HEAD + "shared = 'yes'", 5, "[module] shared = 'yes': expected true or false"),
        (HEAD + "launch = 'spawn'", 5, '[module] launch = \'spawn\': expected "fork" or "exec"'),
        (HEAD + "preload = ['os;x']", 5, "[module] preload = 'os;x': expected modules of Python's standard library"),
        (HEAD + "description = '''a\nb'''", 5, "expected a string without control characters"),
        (HEAD + "[ports]\ninputs = ['a/b']", 6, "[ports] inputs = 'a/b': expected port names"),
        (HEAD + "[ports]\noutputs = ['a', 'a']", 6, "[ports] outputs = 'a': expected each entry once"),
        (HEAD + "[desired]\na = 2020-01-01", 6, "[desired] a = 2020-01-01: expected a JSON value"),
        (HEAD + "[permissions]\nroot = true", 6, "[permissions] root = …: expected a known key"),
        (HEAD + "[ports]\ninput_window = 257", 6, "[ports] input_window = 257: expected a whole number of messages"),
        (HEAD + "[limits]\nmemory_mib = 23", 6, "[limits] memory_mib = 23: expected a whole number of MiB from 24"),
        (HEAD + "[supervision]\nrestart = 'no'", 6, "[supervision] restart = 'no': expected \"never\""),
        ("a = ", 1, "found a mistake at"),
        ("\n\x00", 2, "found a NUL byte"),
        ("#" * 65_537, 0, "found a larger file: expected a regular file of at most 65536 bytes"),
        ("a" + ".a" * 30_000 + " = 1", 1, "found a key of more than 40 parts"),
    ],
)
def test_a_bad_manifest_gets_one_line_with_file_line_key_found_and_expected(
    tmp_path: Path, manifest: str, line: int, reason: str
) -> None:
    directory = write_image(tmp_path, manifest)

    with pytest.raises(ModuleImageError) as caught:
        read_image(directory)

    where = f"{directory}/module.toml" + (f":{line}" if line else "")
    assert str(caught.value).startswith(f"{where}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (caught.value.file, caught.value.line) == (f"{directory}/module.toml", line)


@pytest.mark.parametrize("name", ["Probe", "1probe", "soil-probe", "soil probe", "süß", "p" * 64, "supervisor", "a\nb"])
def test_an_invalid_directory_name_is_refused_and_never_changed(tmp_path: Path, name: str) -> None:
    directory = write_image(tmp_path, HEAD, name)

    with pytest.raises(ModuleImageError, match=r"found a directory named .*: expected") as caught:
        read_image(directory)

    assert "\n" not in str(caught.value)


def test_a_preload_that_is_not_of_the_standard_library_is_refused_where_python_knows(tmp_path: Path) -> None:
    directory = write_image(tmp_path, HEAD + "preload = ['numpy']")
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("Python 3.9 has no list of its modules")

    with pytest.raises(ModuleImageError, match="preload = 'numpy': expected modules of Python's standard library"):
        read_image(directory)


def test_a_manifest_or_entry_that_is_a_link_out_of_the_modules_directory_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text(HEAD)
    for name in ("module.toml", "__init__.py"):
        directory = Path(write_image(tmp_path / f"root-{name}", HEAD))
        (directory / name).unlink()
        (directory / name).symlink_to(outside / "file")

        with pytest.raises(ModuleImageError, match="a link out of"):
            read_image(str(directory))


def test_an_image_without_its_package_file_is_refused(tmp_path: Path) -> None:
    directory = Path(write_image(tmp_path, HEAD))
    (directory / "__init__.py").unlink()

    with pytest.raises(ModuleImageError, match=r"entry = 'probe:main': expected a file probe/__init__.py"):
        read_image(str(directory))


def test_a_manifest_that_is_missing_or_a_pipe_is_refused_without_blocking(tmp_path: Path) -> None:
    directory = Path(write_image(tmp_path, HEAD))
    (directory / "module.toml").unlink()

    with pytest.raises(ModuleImageError, match=r"module.toml: found no such file"):
        read_image(str(directory))
    os.mkfifo(directory / "module.toml")
    with pytest.raises(ModuleImageError, match="found a device, pipe or socket"):
        read_image(str(directory))
