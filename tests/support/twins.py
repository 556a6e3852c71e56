"""A twin with something of everything, and the control commands over it as the supervisor answers them."""

from __future__ import annotations

from microedge.errors import TwinError
from microedge.twin.twin import Twin

START_S = 1_700_000_000.0  # 2023-11-14T22:13:20Z
START_MS = int(START_S * 1000)
_MINUTE_MS = 60_000


def example() -> Twin:
    """Return the twin of north: each layer has said something, one of them in vain, and one attempt was refused."""
    twin = Twin("greenhouse-7", "north")
    defaults = {"interval_s": 10, "limits": {"min": 0, "max": 40}, "unit": "C"}
    twin.reconcile(defaults, {"name": "north wall", "limits": {"max": 35}}, START_MS)
    twin.patch_desired({"interval_s": 5}, "cli", START_MS + _MINUTE_MS)
    twin.patch_desired({"limits": {"max": 30}}, "upstream", START_MS + 2 * _MINUTE_MS)
    for minute in (3, 4):
        attempt(twin, {"limits": {"max": 31}}, START_MS + minute * _MINUTE_MS)
    twin.patch_tags({"site": "hall 3"}, "cli", START_MS + 5 * _MINUTE_MS)
    twin.set_connected(True, START_MS + 6 * _MINUTE_MS)
    twin.patch_reported({"firmware": "1.0.3", "sensors": {"count": 2}}, START_MS + 7 * _MINUTE_MS)
    return twin


def attempt(twin: Twin, patch: dict[str, object], now_ms: int) -> TwinError | None:
    """Try to patch the desired properties from the command line; return the refusal."""
    try:
        twin.patch_desired(patch, "cli", now_ms)
    except TwinError as error:
        return error
    return None


def answer(twin: Twin) -> dict[str, object]:
    """Return what the control command `twin` answers."""
    return {
        "twin": twin.document(),
        "blame": twin.blame(),
        "overruled": twin.overruled(),
        "file": f"/home/pi/demo/state/twins/{twin.module}.json",
        "is_saved": True,
        "notes": [],
    }


def history(twin: Twin) -> dict[str, object]:
    """Return what the control command `twin_history` answers."""
    return {"changes": twin.history.changes, "refusals": twin.history.refusals}


def set_in(twin: Twin, request: dict[str, object]) -> dict[str, object]:
    """Carry out the control command `twin_set`; a refusal has "ok": False as its first member."""
    now_ms, patch = START_MS + 8 * _MINUTE_MS, request["patch"]
    try:
        if request["part"] == "tags":
            effect = twin.patch_tags(patch, "cli", now_ms)
        elif request.get("reset"):
            effect = twin.reset_desired(patch, "cli", now_ms)
        elif request["replace"]:
            effect = twin.replace_desired(patch, "cli", now_ms)
        else:
            effect = twin.patch_desired(patch, "cli", now_ms)
    except TwinError as error:
        facts = {"path": error.path, "found": repr(error.got), "expected": error.expected}
        return {"ok": False, "error": str(error), "exit_code": 1, **facts}
    delivered = twin.connection_state == "Connected" and request["part"] == "desired"
    result = {"part": request["part"], "version": effect.version, "changed": effect.changed, "delivered": delivered}
    return {"ok": True, "result": result}
