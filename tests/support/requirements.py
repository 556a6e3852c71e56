"""Programs that some tests need and that pip cannot install."""

from __future__ import annotations

import os
import shutil

import pytest

_CURES = {"mosquitto": "make deps-system", "mosquitto_sub": "make deps-system", "mosquitto_pub": "make deps-system"}


def require_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped on a laptop and fails where CI is set."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"  # brokers live where users do not look
    found = shutil.which(name, path=path)
    if found:
        return found
    reason = f"{name} is not installed; run: {_CURES.get(name, 'apt-get install ' + name)}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
