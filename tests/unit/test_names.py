from __future__ import annotations

import pytest

from microedge.names import input_endpoint, is_device_id, is_image_name, is_name


@pytest.mark.parametrize("text", ["a", "serial_bridge", "probe2", "a" * 63])
def test_an_image_name_is_a_python_package(text):
    assert is_image_name(text)


@pytest.mark.parametrize("text", ["", "A", "2probe", "_probe", "soil-probe", "a.b", "a/b", "a" * 64, "a\n", "ä"])
def test_what_is_no_image_name_is_refused(text):
    assert not is_image_name(text)


@pytest.mark.parametrize("text", ["a", "north-probe", "North_2", "9", "a" * 64])
def test_a_name_is_safe_as_directory_topic_level_and_route_part(text):
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", "-a", "_a", ".", "..", "a.b", "a/b", "a b", "a+", "a#", "$a", "a" * 65, "a\n", "é"]
)
def test_what_is_no_name_is_refused(text):
    assert not is_name(text)


@pytest.mark.parametrize("text", ["greenhouse-7", "pi.local", "A_b", "a" * 128])
def test_a_device_id_is_one_topic_level(text):
    assert is_device_id(text)


@pytest.mark.parametrize("text", ["", ".hidden", "a/b", "a b", "+", "#", "a" * 129, "a\n"])
def test_what_is_no_device_id_is_refused(text):
    assert not is_device_id(text)


def test_an_input_endpoint_is_written_as_routes_write_it():
    assert input_endpoint("alarm", "readings") == "/modules/alarm/inputs/readings"
