"""The long form from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from powercut.disk import MODELS

pytestmark = pytest.mark.timeout(60)  # seconds, but on a busy board they add up


def powercut(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "powercut", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_one_state_is_made_again_with_its_files(tmp_path):
    done = powercut("--only", "immediate/0/0/torn/60", "--keep", str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "nothing is wrong with it\n")
    assert "queue.db" in os.listdir(tmp_path)


def test_a_campaign_ends_with_its_figures():
    done = powercut("--states", "10", "--cuts", "0", "--faults", "0", "--jobs", "1")
    figures = json.loads(done.stdout)

    assert (done.returncode, figures["violations"]) == (0, 0)
    assert {subject: list(counts) for subject, counts in figures["states"].items()} == {
        "queue": list(MODELS),
        "twin": list(MODELS),
    }
    assert all(count >= 10 for count in figures["states"]["queue"].values())
