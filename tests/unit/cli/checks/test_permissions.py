from __future__ import annotations

import os

import pytest

from microedge.cli.checks.outcome import OK, WARNING, Surroundings
from microedge.cli.checks.permissions import find
from microedge.config.load import load

TEXT = """\
[upstream]
type = "mqtt"
url = "mqtts://b"
username = "u"
password = { file = "broker.password" }
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "microedge.toml").write_text(TEXT)
    (tmp_path / "broker.password").write_text("x")
    (tmp_path / "broker.password").chmod(0o600)
    for name in ("state", "modules"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o700)
    return tmp_path


def outcomes(home):
    file = str(home / "microedge.toml")
    return find(Surroundings(file, load(file)))


def test_private_directories_and_secrets_are_well(home):
    assert [(one.outcome, one.cure) for one in outcomes(home)] == [(OK, ""), (OK, "")]


@pytest.mark.parametrize(
    ("name", "mode", "cure"),
    [
        ("broker.password", 0o644, "chmod 0600 {}"),
        ("broker.password", 0o660, "chmod 0600 {}"),
        ("state", 0o770, "chmod 0700 {}"),
        ("modules", 0o777, "chmod o-w {}"),
    ],
)
def test_what_others_may_do_is_a_warning_with_its_cure(home, name, mode, cure):
    path = home / name
    path.chmod(mode)

    (warning,) = [one for one in outcomes(home) if one.outcome == WARNING]
    assert warning.cure == cure.format(path)


def test_a_missing_modules_directory_is_a_warning(home):
    os.rmdir(home / "modules")

    assert [one.cure for one in outcomes(home) if one.outcome == WARNING] == [f"mkdir {home}/modules"]


def test_a_missing_state_directory_will_be_made(home):
    os.rmdir(home / "state")

    assert "will be made at the first start" in outcomes(home)[0].found
