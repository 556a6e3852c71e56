"""The module's side of its twin: desired properties as they change, and reports with their answers. Does no I/O.

Changes that arrive faster than the module looks become one: what is kept is one document and one patch, never a queue.
"""

from __future__ import annotations

import json

from microedge import wire
from microedge.errors import TwinError
from microedge.method import encode_payload
from microedge.patch import diff, merge_patch
from microedge.sdk.requests import Requests

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Any

    Properties = dict[str, Any]
else:
    Properties = dict


class DesiredPatch(Properties):
    """What has changed in the desired properties; null (None) says that a member was deleted.

    `version` is their version from now on, also under the key `$version`. `is_whole` is True where this is the whole
    document and not a change of it: at the start, and whenever the hub sends it whole. Then what is not in it is gone.
    """

    __slots__ = ("is_whole", "version")

    def __init__(self, properties: Properties, version: int, *, is_whole: bool = False) -> None:
        super().__init__(properties)
        self["$version"] = version
        self.version = version
        self.is_whole = is_whole


class TwinPort:
    """`desired` and `reported` are documents without `$version`, each replaced by a new one when it changes."""

    def __init__(self, start: dict[str, Any]) -> None:
        """`start` is the decoded START frame; a hub without twins says only what is desired."""
        self.desired: Properties = start["desired"]
        self.version: int = start.get("desired_version", 0)
        self.reported: Properties = start.get("reported", {})
        self._latest: tuple[Properties, int] | None = None  # document and version that nobody has looked at yet
        self._patch: Properties | None = None  # how it was made of `desired`, where that was one step
        self._is_whole = False
        self._requests = Requests()
        self._patches: dict[int, Properties] = {}  # reports that are not answered yet, by request id

    # --- Desired properties ---

    def whole(self) -> DesiredPatch:
        """Return the whole document as a patch: what a module is told first."""
        return DesiredPatch(self.desired, self.version, is_whole=True)

    def take_desired(self, version: int, head: bytes, body: bytes) -> None:
        """The hub tells a change, or the whole document. A change that is known already is ignored."""
        before, known = self._latest or (self.desired, self.version)
        given = json.loads(body)
        if head == b"whole":
            self._latest, self._is_whole = (given, version), True
        elif version > known:
            self._patch = given if self._latest is None else None
            self._latest = merge_patch(before, given), version

    def next_change(self) -> DesiredPatch | None:
        """Make what has arrived the desired properties; return how they differ from before, None if nothing came."""
        if self._latest is None:
            return None
        before = self.desired
        self.desired, self.version = self._latest
        patch, is_whole = self._patch, self._is_whole
        self._latest, self._patch, self._is_whole = None, None, False
        if is_whole:
            return self.whole()
        return DesiredPatch(diff(before, self.desired) if patch is None else patch, self.version)

    # --- Reported properties ---

    def ask(self, patch: Properties) -> tuple[int, bytes]:
        """Begin a report: return its id and the frame for the hub. `answer` has the outcome later.

        Raises:
            TypeError: the patch holds something that JSON cannot express.
            ValueError: it exceeds 128 KiB or 100 levels, or a number in it is not finite.
        """
        body = encode_payload(patch)
        request = self._requests.begin()
        copy = json.loads(body)  # the caller's may change before it is merged
        if isinstance(copy, dict):
            copy.pop("$version", None)  # as in the patch of on_desired, which a module may report as it is
        self._patches[request] = copy
        return request, wire.encode(wire.REPORT, request, body=body)

    def take_answer(self, request: int, head: bytes, body: bytes) -> None:
        """The hub answers a report; what it took is reported from now on, whether or not somebody still waits."""
        answer, patch = json.loads(body), self._patches.pop(request, {})
        if head == b"200":
            self.reported = merge_patch(self.reported, patch)
            self._requests.settle(request, answer["version"])
            return
        error = TwinError(answer.get("path", ""), answer.get("got"), answer.get("expected", ""))
        error.args = (answer["message"],)  # as the hub says it
        self._requests.settle(request, error)

    def answer(self, request: int) -> int:
        """Return the version that a report has made; 0 while there is no answer.

        Raises:
            TwinError: the hub refused the report; nothing was changed.
        """
        found = self._requests.answer(request)
        if isinstance(found, TwinError):
            raise found
        return found or 0

    def forget(self, request: int) -> None:
        """Wait for this answer no longer."""
        self._requests.forget(request)
