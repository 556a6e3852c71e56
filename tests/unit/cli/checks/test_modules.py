from __future__ import annotations

import pytest

from microedge.cli.checks.modules import find
from microedge.cli.checks.outcome import FAILED, OK, WARNING, Surroundings
from microedge.config.load import load

MANIFEST = '[module]\nschema = 1\nname = "probe"\nversion = "1.0.0"\n'


@pytest.fixture
def home(tmp_path):
    (tmp_path / "microedge.toml").write_text("[routes]\nall = 'FROM /messages/* INTO $upstream'\n")
    (tmp_path / "modules" / "probe").mkdir(parents=True)
    (tmp_path / "modules" / "probe" / "module.toml").write_text(MANIFEST)
    (tmp_path / "modules" / "probe" / "__init__.py").write_text("def main(client): ...\n")
    return tmp_path


def outcomes(home):
    file = str(home / "microedge.toml")
    return find(Surroundings(file, load(file)))


def test_what_will_run_is_named(home):
    (found,) = outcomes(home)

    assert (found.outcome, found.found) == (OK, "to run: probe (probe)")


def test_a_rejected_directory_names_the_file_to_edit(home):
    manifest = home / "modules" / "probe" / "module.toml"
    manifest.write_text(MANIFEST + "bogus = 1\n")

    assert [(one.outcome, one.cure) for one in outcomes(home)][1:] == [(FAILED, f"edit {manifest}")]


def test_a_syntax_error_is_found_before_it_runs(home):
    (home / "modules" / "probe" / "__init__.py").write_text("def main(client:\n")

    (_, failed) = outcomes(home)
    assert failed.outcome == FAILED
    assert "probe/__init__.py:1: " in failed.found


def test_a_configured_module_without_its_image_is_a_failure(home):
    with open(home / "microedge.toml", "a") as file:
        file.write('[modules.north]\nimage = "prob"\n')

    (failed,) = [one for one in outcomes(home) if one.outcome == FAILED]
    assert "[modules.north] image = 'prob'" in failed.found
    assert "'probe'" in failed.found or "probe" in failed.found


def test_nothing_to_run_is_a_warning(home):
    (home / "modules" / "probe" / "module.toml").unlink()

    assert (outcomes(home)[0].outcome, outcomes(home)[0].cure) == (WARNING, "microedge module new NAME")
