from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from microedge.upstream import reasons
from microedge.upstream.settings import UpstreamSettings

SETTINGS = UpstreamSettings(type="mqtt", device="d", host="broker", port=1883)
TLS = UpstreamSettings(type="mqtt", device="d", host="broker", port=8883, tls=True, ca_file="/etc/ca.pem")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name not found: broker"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "nothing listens at broker:1883"),
        (TimeoutError("timed out"), "no answer from broker:1883"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "broker:1883 reset the connection"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "broker:1883: Network is unreachable"),
    ],
)
def test_a_socket_error_becomes_words(error, expected):
    assert expected in reasons.socket_failed(error, SETTINGS)


def verification_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("code", "settings", "expected"),
    [
        (10, TLS, "check the clock of this device"),
        (62, TLS, "for another name than broker"),
        (20, TLS, "not signed by a certificate in ca_file = '/etc/ca.pem'"),
        (20, SETTINGS, "set ca_file"),
    ],
)
def test_a_certificate_that_fails_names_what_to_check(code, settings, expected):
    assert expected in reasons.tls_failed(verification_error(code, "why"), settings)


@pytest.mark.parametrize(
    ("number", "is_possible"),
    [(errno.ECONNRESET, True), (errno.EPIPE, True), (errno.ENETUNREACH, False), (errno.ETIMEDOUT, False)],
)
def test_only_a_living_network_lets_a_message_be_suspected(number, is_possible):
    assert reasons.may_be_the_message(OSError(number, os.strerror(number))) is is_possible


def test_an_unknown_code_is_shown_as_a_number():
    assert reasons.broker_closed(0xEE, SETTINGS) == "the broker closed the connection: unknown reason (0xee)"


def test_a_take_over_names_the_client_id():
    assert "client_id = 'microedge-d'" in reasons.broker_closed(0x8E, SETTINGS)


def test_no_refusal_is_also_a_reason_to_blame_the_network():
    assert set(reasons.REFUSALS) <= reasons.BLAMEABLE
