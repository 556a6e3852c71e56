"""From the command line to a configuration and to the running supervisor."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping

from microedge.cli.client import ControlClient
from microedge.config.document import open_document
from microedge.config.load import MAX_FILE_BYTES, find, load
from microedge.config.model import Config
from microedge.errors import ConfigError

SOCKET_NAME = "control.sock"
DEFAULT_STATE = "state"


def file_of(args: Namespace) -> str:
    """Return the absolute path of the configuration that this command line means.

    Raises:
        ConfigError: none was named, and there is none at the usual places.
    """
    return find(args.config, os.environ, os.getcwd())


def config_of(args: Namespace) -> Config:
    """Find and load the configuration.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    return load(file_of(args))


def client_of(args: Namespace) -> ControlClient:
    """Return the client for the supervisor of this configuration, or for `--socket`.

    Raises:
        ConfigError: there is no configuration, or it cannot be read.
    """
    if args.socket:
        return ControlClient(args.socket)
    return ControlClient(socket_path(file_of(args)), start_hint=run_hint(args))


def socket_path(file: str) -> str:
    """Return the path of the control socket of the configuration `file`.

    Where the configuration cannot be read, a socket at the default place will do.

    Raises:
        ConfigError: the file cannot be read or parsed, and no socket is at the default place.
    """
    try:
        return os.path.join(state_directory(file), SOCKET_NAME)
    except ConfigError:
        default = os.path.join(os.path.dirname(os.path.abspath(file)), DEFAULT_STATE, SOCKET_NAME)
        if os.path.exists(default):
            return default
        raise


def state_directory(file: str) -> str:
    """Return the state directory of the configuration `file`.

    Only [paths] state is read, because a supervisor goes on running while an edit has broken its configuration, and
    because its secrets may be in variables that this shell does not have.

    Raises:
        ConfigError: the file cannot be read or parsed.
    """
    paths = open_document(file, MAX_FILE_BYTES).table.get("paths", {})
    state = paths.get("state") if isinstance(paths, Mapping) else None
    base = os.path.dirname(os.path.abspath(file))
    return os.path.normpath(os.path.join(base, state if isinstance(state, str) else DEFAULT_STATE))


def run_hint(args: Namespace) -> str:
    """Return the command that starts the supervisor this command line was looking for."""
    return f"microedge --config {args.config} run" if args.config else "microedge run"
