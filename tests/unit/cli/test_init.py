from __future__ import annotations

import os

import pytest

from microedge.cli.failure import CommandError
from microedge.cli.init import template
from microedge.cli.main import main
from microedge.config.load import load


@pytest.mark.parametrize(
    ("options", "device", "url"),
    [
        ([], None, ""),
        (["--device", "green.house-7"], "green.house-7", ""),
        (["--broker", "mqtt://broker.local"], None, "mqtt://broker.local"),
        (["--broker", "mqtts://[::1]:8884"], None, "mqtts://[::1]:8884"),
    ],
)
def test_what_it_writes_loads_without_a_warning(tmp_path, options, device, url):
    assert main(["init", str(tmp_path / "demo"), *options]) == 0

    config = load(str(tmp_path / "demo" / "microedge.toml"))
    assert config.upstream.url == url
    assert device in (None, config.device.id)
    assert [module.image for module in config.modules.values()] == ["simulated_sensor", "system_metrics"]
    assert config.warnings == ()


def test_it_makes_the_directories_and_says_the_next_command(tmp_path, capsys):
    main(["init", str(tmp_path / "demo")])

    assert (tmp_path / "demo" / "modules").is_dir()
    assert (tmp_path / "demo" / "state").stat().st_mode & 0o777 == 0o700
    assert f"next: cd {tmp_path}/demo && microedge run --live" in capsys.readouterr().out


def test_it_overwrites_nothing(tmp_path, capsys):
    file = tmp_path / "microedge.toml"
    file.write_text("mine")

    assert main(["init", str(tmp_path)]) == 1
    assert file.read_text() == "mine"
    assert "exists already; nothing was changed\n  run it: microedge --config" in capsys.readouterr().err


def test_a_file_in_the_way_is_named(tmp_path, capsys):
    (tmp_path / "modules").write_text("")

    assert main(["init", str(tmp_path)]) == 1
    assert "modules exists already" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_named(tmp_path, capsys):
    tmp_path.chmod(0o500)

    assert main(["init", str(tmp_path / "demo")]) == 1
    assert "Permission denied\n  choose another directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "broker", "text"),
    [
        ("no spaces", None, "--device 'no spaces': expected a letter or digit"),
        (None, "broker.local", "--broker 'broker.local': expected mqtt://HOST"),
        (None, "http://b", "expected mqtt://HOST"),
        (None, "mqtt://user:secret@b", "expected no user name or password in the URL"),
        (None, 'mqtt://b"\n', "expected mqtt://HOST"),
    ],
)
def test_a_wrong_argument_says_what_to_write(device, broker, text):
    with pytest.raises(CommandError) as caught:
        template(device, broker)

    assert text in str(caught.value)
    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value) + caught.value.advice
