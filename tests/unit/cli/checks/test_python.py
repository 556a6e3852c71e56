from __future__ import annotations

from microedge.cli.checks import python
from microedge.cli.checks.outcome import FAILED, OK, Surroundings


def test_this_python_is_well():
    assert python.find(Surroundings("f", None))[0].outcome == OK


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(python.PACKAGES, "no_such_module", "no-such-package")

    (failed,) = [one for one in python.find(Surroundings("f", None)) if one.outcome == FAILED]
    assert failed.found.startswith("no-such-package cannot be imported")
    assert failed.cure.endswith("-m pip install no-such-package")
