from __future__ import annotations

import json

import pytest

from microedge.cli.main import main
from microedge.config.image import read_image


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEDGE_CONFIG", raising=False)
    main(["init"])
    return tmp_path


def test_a_new_module_is_a_valid_image(home, capsys):
    capsys.readouterr()

    assert main(["module", "new", "soil_probe"]) == 0

    image = read_image(str(home / "modules" / "soil_probe"))
    assert (image.name, image.outputs) == ("soil_probe", ("readings",))
    out = capsys.readouterr().out
    assert "python -m microedge.sdk.run modules/soil_probe" in out
    assert [entry.name for entry in (home / "modules").iterdir()] == ["soil_probe"]


def test_a_new_module_is_about_ten_lines(home):
    main(["module", "new", "soil_probe"])

    assert len((home / "modules" / "soil_probe" / "__init__.py").read_text().split("\n")) <= 13


def test_a_new_module_passes_its_check(home, capsys):
    main(["module", "new", "soil_probe"])
    capsys.readouterr()

    assert main(["module", "check", "modules/soil_probe"]) == 0
    assert "soil_probe: ok" in capsys.readouterr().out


def test_an_existing_module_is_left_alone(home, capsys):
    main(["module", "new", "soil_probe"])
    (home / "modules" / "soil_probe" / "__init__.py").write_text("mine")

    assert main(["module", "new", "soil_probe"]) == 1
    assert (home / "modules" / "soil_probe" / "__init__.py").read_text() == "mine"
    assert "exists already; nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Soil-Probe", "'Soil-Probe': expected a lower-case letter, then up to 62 of a-z, 0-9 and _"),
        ("../x", "expected a lower-case letter"),
        ("json", "'json' is already the name of a Python module"),
        ("class", "'class' is already the name of a Python module"),
        ("serial", "'serial' is already the name of a Python module"),
        ("microedge", "'microedge' is already the name of a Python module"),
    ],
)
def test_a_bad_name_is_refused_with_the_rule(home, capsys, name, text):
    assert main(["module", "new", name]) == 2
    assert text in capsys.readouterr().err
    assert list((home / "modules").iterdir()) == []


def test_a_directory_may_be_given_without_any_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main(["module", "new", "soil_probe", "--dir", "here"]) == 0
    assert (tmp_path / "here" / "soil_probe" / "module.toml").is_file()


def test_a_checked_directory_must_exist(capsys):
    assert main(["module", "check", "/no/such"]) == 2
    assert "/no/such is no directory\n  give the directory" in capsys.readouterr().err


def test_a_rejected_image_is_told_in_json_too(home, capsys):
    main(["module", "new", "soil_probe"])
    (home / "modules" / "soil_probe" / "__init__.py").write_text("def main(client):\n  if\n")
    capsys.readouterr()

    assert main(["module", "check", "modules/soil_probe", "--json"]) == 78

    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert "soil_probe/__init__.py:2: invalid syntax" in answer["problems"][0]
