"""From desired properties to a module's settings, at the start and live: what is good is used, what is bad is told.

What became of the desired properties stands in the reported ones, in one shape for every module:

    configuration   {"desired_version": 8, "applied_version": 7, "problem": "baud = 0: expected ..."}

`applied_version` is that of the properties in use, and `problem` is there only while they are not the latest. It is 0
when none were ever good enough to run.
"""

from __future__ import annotations

import sys

from microedge.errors import TwinError, printable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from microedge.sdk.client import ModuleClient
    from microedge.sdk.twin import DesiredPatch

    Settings = TypeVar("Settings")

EXIT_CONFIG = 78  # EX_CONFIG: starting again does not help before the settings change
_PROBLEM_CHARS = 500


def first_settings(client: ModuleClient, parse: Callable[[dict[str, Any]], Settings]) -> Settings:
    """Return what `parse` makes of the desired properties a module starts with; end it with code 78 if they are bad.

    `parse` raises ValueError (or an error derived from it) with a sentence for a person. That is logged and reported
    before the end; the supervisor starts the module again when its desired properties change.

    Raises:
        HubGoneError: the supervisor is gone.
    """
    try:
        return parse(client.desired)
    except ValueError as error:
        client.log.error("desired properties: %s; this instance starts again when they have changed", error)
        _report(client, client.desired_version, 0, str(error))
        sys.exit(EXIT_CONFIG)


def follow_settings(
    client: ModuleClient, parse: Callable[[dict[str, Any]], Settings], use: Callable[[Settings], object]
) -> None:
    """Call `use(settings)` with what `parse` makes of the desired properties: at once, and after every change.

    Bad ones (`parse` raises ValueError) are logged and reported, and the module goes on with those it has. Blocks while
    a report is answered. Takes the place of `client.on_desired`.

    Raises:
        HubGoneError: the supervisor is gone.
    """
    applied = 0

    def change(patch: DesiredPatch, desired: dict[str, Any]) -> None:
        nonlocal applied
        try:
            settings = parse(desired)
        except ValueError as error:
            client.log.error("desired properties: %s; keeping the previous ones until this is corrected", error)
            _report(client, patch.version, applied, str(error))
            return
        applied = patch.version
        use(settings)
        _report(client, applied, applied, "")

    client.on_desired(change)


def _report(client: ModuleClient, desired_version: int, applied_version: int, problem: str) -> None:
    """Report it unless it stands there already: a restart changes nothing."""
    configuration = {"desired_version": desired_version, "applied_version": applied_version}
    words = {"problem": printable(problem, _PROBLEM_CHARS)} if problem else {}
    if client.reported.get("configuration") == {**configuration, **words}:
        return
    try:
        client.report({"configuration": {"problem": None, **configuration, **words}})
    except TwinError as error:
        client.log.warning("the state of the configuration cannot be reported: %s", error)
