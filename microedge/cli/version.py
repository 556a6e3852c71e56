"""`microedge version`: which microedge, under which Python, installed where."""

from __future__ import annotations

import json
import os
import platform
import sys
from argparse import Namespace

import microedge
from microedge.cli.failure import OK
from microedge.cli.terminal import say


def show(args: Namespace) -> int:
    """Print the version and return 0. Needs no configuration."""
    facts = {
        "version": microedge.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "package": os.path.dirname(os.path.abspath(microedge.__file__)),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if args.json:
        say(json.dumps(facts, indent=2))
    else:
        say(f"microedge {facts['version']}")
        say(f"python    {facts['python']} at {facts['executable']}")
        say(f"package   {facts['package']}")
        say(f"machine   {facts['machine']}")
    return OK
