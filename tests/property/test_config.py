from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microedge.config.image import read_image
from microedge.config.lines import key_lines
from microedge.config.load import load
from microedge.config.model import Config, Image
from microedge.errors import ConfigError, MicroedgeError, ModuleImageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ON_DISK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SOUP = """[ [[ ] ]] { } = . , # " ' \"\"\" ''' \n \r\n \\ \\u0041 \\uD800 0x 1e999 -1 1_0 nan inf true 2020-01-01
    12:00:00 device paths upstream store modules routes id type mqtt url password file env desired image limits
    memory_mib module schema name version entry python requires ports inputs permissions supervision probe
    probe:main 1 "x" \x00
    \x7f é \ud7ff"""
WORDS = st.sampled_from(SOUP.split(" "))
NAMES = st.sampled_from(["a", "b", "c1", "-", "_x"])
QUOTED = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=6)


def garbage() -> st.SearchStrategy[bytes]:
    soup = st.lists(WORDS, max_size=40).map(lambda words: " ".join(words).encode("utf-8", "replace"))
    deep = st.builds(
        lambda word, count: b"a = " + word * count, st.sampled_from([b"[", b"{a=", b"[{a="]), st.integers(1, 9000)
    )
    long = st.builds(
        lambda word, count: word * count + b" = 1", st.sampled_from([b"a.", b'"".', b"[a."]), st.integers(1, 9000)
    )
    digits = st.builds(
        lambda base, count: b"[store]\nmax_mib = " + base + b"1" * count,
        st.sampled_from([b"", b"0x", b"-", b"0o"]),
        st.integers(1, 9000),
    )
    return st.one_of(st.binary(max_size=300), soup, deep, long, digits)


def values() -> st.SearchStrategy[Any]:
    scalars = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(), QUOTED)
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(QUOTED, inner, max_size=3))


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


CONFIG_KEYS = [
    "device.id", "paths.modules", "paths.state", "upstream.type", "upstream.url", "upstream.password",
    "upstream.topic", "upstream.keepalive_s", "upstream.path", "store.ttl_s", "modules.n.image", "modules.n.desired",
    "modules.n.env", "modules.n.limits", "modules.n.permissions.read", "modules", "routes.r", "routes",
]  # fmt: skip
MANIFEST_KEYS = [
    "entry", "description", "python", "requires", "shared", "launch", "preload", "version", "name", "schema",
]  # fmt: skip


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except MicroedgeError as error:
        return error


def check_config(directory: Path, raw: bytes) -> None:
    file = directory / "microedge.toml"
    file.write_bytes(raw)
    result = outcome(lambda: load(str(file), environ={}, host_name="pi"))

    assert isinstance(result, (Config, ConfigError))
    if isinstance(result, ConfigError):
        assert str(result).isprintable()
        assert 0 <= result.line <= raw.count(b"\n") + 1


def check_image(directory: Path, raw: bytes) -> None:
    image = directory / "probe"
    image.mkdir(exist_ok=True)
    (image / "__init__.py").touch()
    (image / "module.toml").write_bytes(raw)
    result = outcome(lambda: read_image(str(image)))

    assert isinstance(result, (Image, ModuleImageError))
    assert isinstance(result, Image) or str(result).isprintable()


@ON_DISK
@given(raw=garbage())
def test_any_bytes_are_a_configuration_or_a_located_error(tmp_path: Path, raw: bytes) -> None:
    check_config(tmp_path, raw)


@ON_DISK
@given(raw=garbage())
def test_any_bytes_are_a_manifest_or_a_located_error(tmp_path: Path, raw: bytes) -> None:
    check_image(tmp_path, raw)


@ON_DISK
@given(key=st.sampled_from(CONFIG_KEYS), value=values())
def test_any_value_of_any_key_gives_a_configuration_or_a_located_error(tmp_path: Path, key: str, value: Any) -> None:
    mqtt = 'upstream.type = "mqtt"\nupstream.url = "mqtt://b"\n' if key.startswith("upstream.") else ""
    lines = [line for line in mqtt.splitlines() if not line.startswith(f"{key} ")]

    check_config(tmp_path, "\n".join([*lines, f"{key} = {toml(value)}"]).encode())


@ON_DISK
@given(key=st.sampled_from(MANIFEST_KEYS), value=values())
def test_any_value_of_any_key_gives_an_image_or_a_located_error(tmp_path: Path, key: str, value: Any) -> None:
    head = {"schema": 1, "name": "probe", "version": "1", key: value}

    check_image(tmp_path, ("[module]\n" + "\n".join(f"{k} = {toml(v)}" for k, v in head.items())).encode())


KEYS = st.lists(NAMES.map(str) | QUOTED.map(quoted), min_size=1, max_size=3).map(" . ".join)
STATEMENTS = st.one_of(
    st.builds("{} = {}".format, KEYS, values().map(toml)),
    st.builds("[{}]".format, KEYS),
    st.builds("[[{}]] # [x]".format, KEYS),
    st.builds('{} = """\n[no]\nno = 1\\\n """'.format, KEYS),
    st.builds("{} = '''\nno = 1\n''''".format, KEYS),
    st.builds("{} = [ # no = [\n 1,\n {{ no = ']' }},\n]".format, KEYS),
    st.sampled_from(["", "# no = 1", "  \t"]),
)


@settings(max_examples=300, deadline=None)
@given(statements=st.lists(STATEMENTS, max_size=12), newline=st.sampled_from(["\n", "\r\n"]))
def test_every_key_that_the_parser_finds_has_a_line_which_contains_it(statements: list[str], newline: str) -> None:
    document, kept = {}, ""
    for statement in statements:  # keep those that together are valid
        with contextlib.suppress(ValueError):
            document, kept = tomllib.loads(f"{kept}{statement}\n"), f"{kept}{statement}\n"
    lines = key_lines(kept.replace("\n", newline))

    for path in table_paths(document, ()):
        marked = next(path[:length] for length in range(len(path), 0, -1) if path[:length] in lines)
        key = next(part for part in reversed(marked) if isinstance(part, str))
        assert toml(key)[1:-1] in kept.split("\n")[lines[marked] - 1]
        assert "no = " not in kept.split("\n")[lines[marked] - 1].partition("=")[0]
    assert set(lines) <= set(table_paths(document, ()))


def table_paths(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from table_paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from table_paths(item, (*path, index))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.lists(WORDS, max_size=60).map("".join))
def test_the_scanner_takes_any_text(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())
