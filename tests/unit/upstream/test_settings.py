import pytest

from microedge.upstream.settings import UpstreamSettings, check_topic


def test_the_default_topic_names_device_module_and_output():
    settings = UpstreamSettings(type="mqtt", device="greenhouse-7")

    assert settings.topic_of("probe", "readings") == "microedge/greenhouse-7/probe/readings"
    assert settings.status_topic == "microedge/greenhouse-7/status"
    assert settings.mqtt_client_id == "microedge-greenhouse-7"


def test_a_topic_may_use_each_placeholder_any_number_of_times():
    settings = UpstreamSettings(device="d", topic="{output}/{output}/x")

    assert settings.topic_of("m", "o") == "o/o/x"


@pytest.mark.parametrize(
    "topic", ["", "a/+/b", "a/#", "{modul}", "{device.x}", "{}", "a}", "a\0b", "$SYS/x", "x" * 513]
)
def test_a_topic_that_could_not_be_published_to_is_refused(topic):
    with pytest.raises(ValueError, match="expected a topic name"):
        check_topic(topic)


@pytest.mark.parametrize(("key", "value"), [("type", "amqp"), ("protocol", 4)])
def test_an_unknown_type_or_protocol_is_refused(key, value):
    with pytest.raises(ValueError, match=f"{key} = .*: expected"):
        UpstreamSettings(**{key: value})


def test_no_text_about_it_shows_the_password_or_the_user():
    settings = UpstreamSettings(type="mqtt", host="::1", port=8883, tls=True, username="u5er", password="s3cret")

    assert "s3cret" not in repr(settings)
    assert settings.url == "mqtts://[::1]:8883"
    assert UpstreamSettings(type="file", path="/var/x").url == "file:///var/x"
