from __future__ import annotations

import subprocess
import sys

import pytest

from microedge.cli.main import plain_run_options


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (["run"], {}),
        (["--config", "a.toml", "run"], {"--config": "a.toml"}),
        (["run", "--config", "a.toml"], {"--config": "a.toml"}),
        (["run", "--config=a.toml"], {"--config": "a.toml"}),
        (["run", "--live"], None),
        (["run", "--help"], None),
        (["run", "--config"], None),
        (["run", "--config="], None),
        (["--config", "--help", "run"], None),
        (["--config", "run"], None),
        (["run", "run"], None),
        (["status"], None),
        ([], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_plain_run_is_recognised_and_nothing_else_is(line, options):
    assert plain_run_options(line) == options


def test_the_way_to_the_supervisor_loads_no_parser():
    code = (
        "import sys; import microedge.cli.main as cli; cli._run = lambda config: 0;"
        "code = cli.main(['run', '--config', 'x']); print(code, *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert out[0] == "0"
    assert not {"argparse", "re", "typing", "importlib.metadata", "dataclasses", "json"} & set(out[1:])
