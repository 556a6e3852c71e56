"""`microedge module new NAME` and `microedge module check DIR`."""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import shutil
import sys
from argparse import Namespace

from microedge.cli.failure import CONFIGURATION, OK, USAGE, CommandError
from microedge.cli.image_check import problems_of
from microedge.cli.settings import config_of
from microedge.cli.terminal import clean, look_of, say
from microedge.errors import ConfigError
from microedge.names import IMAGE_RULE, is_image_name

_MANIFEST = """\
[module]
schema = 1
name = "{name}"
version = "0.1.0"
description = "Sends a reading every few seconds"

[ports]
outputs = ["readings"]

[desired]                 # defaults; the configuration's desired = {{ ... }} amends them
interval_s = 5
"""

_CODE = '''\
"""{name}: sends a reading every few seconds."""

import random

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.ready()
    while client.wait(client.desired["interval_s"]):  # False when asked to stop
        client.send("readings", {{"celsius": round(random.gauss(21.0, 0.3), 2)}})
'''


def new(args: Namespace) -> int:
    """Write a module image that already runs; print how to try it.

    Raises:
        CommandError: the name is not allowed or taken, or the directory cannot be written.
        ConfigError: the configuration is wrong.
    """
    name = args.name
    _check_name(name)
    parent = args.dir or _modules_directory(args)
    directory = os.path.join(parent, name)
    if os.path.lexists(directory):
        raise CommandError(f"{directory} exists already; nothing was changed", "choose another name")
    try:
        _write(parent, name)
    except OSError as error:
        raise CommandError(f"cannot write {directory}: {error.strerror}", "choose another directory: --dir") from error
    say(
        f"wrote {directory}/module.toml and __init__.py\n"
        f"try it alone: python -m microedge.sdk.run {directory}\n"
        "a running microedge starts it by itself; see it with: microedge status, "
        f"microedge tail {name}"
    )
    return OK


def check(args: Namespace) -> int:
    """Check an image without running any of its code. Returns 0, or 78 when something is wrong."""
    directory = os.path.abspath(args.directory)
    if not os.path.isdir(directory):
        raise CommandError(f"{args.directory} is no directory", "give the directory that holds module.toml", USAGE)
    problems = problems_of(directory)
    if args.json:
        say(json.dumps({"directory": directory, "ok": not problems, "problems": problems}, indent=2))
    elif problems:
        look = look_of(sys.stdout)
        say(look.plain("\n".join(f"{look.paint('rejected', 'red')}: {clean(text, 1000)}" for text in problems)))
    else:
        say(f"{os.path.basename(directory)}: ok; try it alone: python -m microedge.sdk.run {args.directory}")
    return CONFIGURATION if problems else OK


def _check_name(name: str) -> None:
    if not is_image_name(name):
        raise CommandError(f"{clean(name)!r}: expected {IMAGE_RULE}", "for example: soil_probe", USAGE)
    if keyword.iskeyword(name) or _is_importable(name):
        raise CommandError(
            f"{name!r} is already the name of a Python module; an import would find only one of them",
            f"for example: {name}_module",
            USAGE,
        )


def _is_importable(name: str) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    # A directory of that name in the current directory is a namespace package and in nobody's way.
    return found is not None and found.origin is not None


def _modules_directory(args: Namespace) -> str:
    try:
        directory = config_of(args).paths.modules
    except ConfigError:
        if args.config is None and os.path.isdir("modules"):
            return "modules"  # no configuration, but a directory that is meant for it
        raise
    shown = os.path.relpath(directory)
    return directory if shown.startswith("..") else shown


def _write(parent: str, name: str) -> None:
    os.makedirs(parent, exist_ok=True)
    # Renamed when complete: a running supervisor watches the parent. A leading dot keeps it out of discovery.
    unfinished = os.path.join(parent, f".{name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    os.mkdir(unfinished)
    for file, text in (("module.toml", _MANIFEST), ("__init__.py", _CODE)):
        with open(os.path.join(unfinished, file), "w", encoding="utf-8") as new_file:
            new_file.write(text.format(name=name))
    os.rename(unfinished, os.path.join(parent, name))
