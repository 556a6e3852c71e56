"""Rules that hold for every test: real processes leave nothing behind, and a missing broker fails only in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support.leaks import MARK, Snapshot, leaks_since
from support.requirements import require_program

_TESTS = Path(__file__).parent
_REAL = {"integration", "fault", "footprint", "powercut"}  # their tests start processes, threads and connections

# A shell that runs this in the background ignores SIGINT, and every child would inherit that; tests send it as Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long says something about the machine (two busy cores, a Pi), not about the code.
hypothesis.settings.register_profile(
    "microedge", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("microedge")


def pytest_configure() -> None:
    os.environ[MARK] = f"{os.getpid()}-{os.urandom(4).hex()}"


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an integration, fault, footprint or powercut test that leaves a process, thread or descriptor.

    Torn down after the test's own fixtures. A fixture of a wider scope must be named in the test's signature: it then
    exists before the first look.
    """
    if request.path.relative_to(_TESTS).parts[0] not in _REAL:
        yield
        return
    before = Snapshot()
    yield
    leaks = leaks_since(before)
    if leaks:
        pytest.fail("left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(scope="session")
def mosquitto_program() -> str:
    """The path of the broker; see `require_program` for what happens without it."""
    return require_program("mosquitto")
