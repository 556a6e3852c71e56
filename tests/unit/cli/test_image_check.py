from __future__ import annotations

import pytest

from microedge.cli.image_check import problems_of

MANIFEST = '[module]\nschema = 1\nname = "probe"\nversion = "1.0.0"\n'


@pytest.fixture
def image(tmp_path):
    directory = tmp_path / "probe"
    directory.mkdir()
    (directory / "module.toml").write_text(MANIFEST)
    (directory / "__init__.py").write_text("def main(client): ...\n")
    return directory


@pytest.mark.parametrize(
    "code",
    [
        "def main(client): ...",
        "from probe.work import run as main",
        "from probe.work import main",
        "class main: ...",
        "main = print",
    ],
)
def test_an_image_with_its_entry_is_usable(image, code):
    (image / "__init__.py").write_text(code)

    assert problems_of(str(image)) == []


def test_none_of_its_code_is_run(image, capsys):
    (image / "__init__.py").write_text("print('ran')\nraise SystemExit\ndef main(client): ...\n")

    assert problems_of(str(image)) == []
    assert capsys.readouterr().out == ""


def test_a_missing_entry_says_what_to_write(image):
    (image / "__init__.py").write_text("def mian(client): ...\n")

    assert problems_of(str(image)) == [f"{image}/__init__.py: no function 'main': expected def main(client): ..."]


def test_a_wrong_manifest_names_its_line(image):
    (image / "module.toml").write_text(MANIFEST + "bogus = 1\n")

    assert problems_of(str(image))[0].startswith(f"{image}/module.toml:5: ")


@pytest.mark.parametrize("code", [b"def main(:", b"\xff\xfe", b"x = 1\0"])
def test_a_file_that_is_no_python_is_one_problem(image, code):
    (image / "more.py").write_bytes(code)

    (problem,) = problems_of(str(image))
    assert problem.startswith(f"{image}/more.py")


def test_vendored_code_is_not_judged(image):
    (image / "lib").mkdir()
    (image / "lib" / "old.py").write_text("print 1")

    assert problems_of(str(image)) == []
