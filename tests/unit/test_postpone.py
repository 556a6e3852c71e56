"""Modules that are loaded at their first use, and what paho makes of them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from microedge.postpone import postpone


@pytest.fixture
def without(monkeypatch):
    """Forget modules for one test, and what it loads instead of them afterwards."""

    def forget(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
            del sys.modules[name]

    return forget


def is_loaded(name: str) -> bool:
    return type(sys.modules.get(name)).__name__ == "module"


def test_a_postponed_module_is_loaded_at_the_first_look_into_it(without):
    without("colorsys")
    postpone("colorsys")
    import colorsys

    before = is_loaded("colorsys")
    answer = colorsys.rgb_to_hsv(0, 0, 0)

    assert (before, answer, is_loaded("colorsys")) == (False, (0.0, 0.0, 0), True)


def test_a_postponed_part_of_a_package_is_found_by_its_long_name(without, monkeypatch):
    monkeypatch.delattr(importlib.import_module("xml.sax"), "saxutils", raising=False)
    without("xml.sax.saxutils")
    postpone("xml.sax.saxutils")
    import xml.sax.saxutils

    assert xml.sax.saxutils.escape("<") == "&lt;"


def test_whoever_only_walks_over_the_loaded_modules_loads_nothing(without):
    without("colorsys")
    postpone("colorsys")

    assert not hasattr(sys.modules["colorsys"], "__file__")
    assert not is_loaded("colorsys")


def test_a_module_that_is_loaded_already_stays_as_it_is():
    import json

    postpone("json")

    assert sys.modules["json"] is json


def test_a_session_without_tls_loads_neither_ssl_nor_http():
    code = (
        "import sys; from microedge.postpone import postpone;"
        "postpone('hashlib', 'ssl', 'urllib.parse', 'urllib.request');"
        "import microedge.upstream.session;"
        "print([name for name, module in sys.modules.items() if type(module).__name__ == 'module'])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert not {"'ssl'", "'_hashlib'", "'http.client'", "'email'", "'urllib.request'"} & set(
        loaded.strip("[]\n").split(", ")
    )
