"""Checksums against published check values, and lines that carry one."""

from __future__ import annotations

import pytest

from microedge.serial import checksums
from microedge.serial.checksums import LineCheck
from microedge.serial.errors import DecodeError

DIGITS = b"123456789"
NMEA = [
    b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
    b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A",
    b"$GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1*39",
    b"$GPGSV,2,1,08,01,40,083,46,02,17,308,41,12,07,344,39,14,22,228,45*75",
]
MODBUS = [
    "010400000002 71CB",
    "01040443663334 1B38",
    "FE0400030001 D5C5",
    "FE04020190 ACD8",
    "0104 0C 436B5AB442DC67204248 0C63 AF7C",
    "0184 02 C2C1",
]


def test_the_check_values_of_the_catalogues_come_out() -> None:
    assert checksums.crc16_modbus(DIGITS) == 0x4B37
    assert checksums.crc32(DIGITS) == 0xCBF43926
    assert checksums.xor8(DIGITS) == 0x31
    assert checksums.sum8(bytes.fromhex("D4043A0AA160")) == 0x1D  # SDS011: PM2.5 123.6, PM10 261.8


@pytest.mark.parametrize("frame", MODBUS)
def test_modbus_frames_of_real_devices_carry_their_crc_low_byte_first(frame: str) -> None:
    data = bytes.fromhex(frame)

    assert checksums.crc16_modbus(data[:-2]).to_bytes(2, "little") == data[-2:]


def test_a_modbus_reply_with_a_wrong_crc_is_told_apart() -> None:
    data = bytes.fromhex("FE04020388D5C5")

    assert checksums.crc16_modbus(data[:-2]) == 0xB2AD


@pytest.mark.parametrize("sentence", NMEA)
def test_nmea_sentences_lose_their_frame_and_come_back_with_it(sentence: bytes) -> None:
    payload = checksums.strip_nmea(sentence)

    assert payload == sentence[1:-3]
    assert checksums.with_nmea(payload) == sentence


def test_a_checked_line_loses_its_crc() -> None:
    assert checksums.with_crc32(DIGITS) == b"123456789*CBF43926"
    assert checksums.strip_crc32(b"123456789*cbf43926") == DIGITS


@pytest.mark.parametrize(
    "line",
    [b"", b"*", b"*CBF43926", b"123456789", b"123456789*CBF4392", b"123456789*CBF43927", b"123456789*+BF43926"],
)
def test_a_line_with_a_missing_or_wrong_crc_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError) as refusal:
        checksums.strip_crc32(line)

    assert refusal.value.kind == "check"


@pytest.mark.parametrize("sentence", [b"", b"$", b"GPGGA*47", b"$A*4", b"$A*42", b"$A*41\n", b"$A$B*03"])
def test_a_damaged_sentence_is_refused(sentence: bytes) -> None:
    with pytest.raises(DecodeError):
        checksums.strip_nmea(sentence)


def test_auto_takes_unchecked_lines_until_the_device_has_shown_that_it_checks() -> None:
    check = LineCheck("auto")

    assert check.strip(b"plain") == b"plain"
    assert check.strip(checksums.with_crc32(b"checked")) == b"checked"
    with pytest.raises(DecodeError):
        check.strip(b"plain")
    check.reset()
    assert check.strip(b"plain") == b"plain"


def test_auto_refuses_a_wrong_checksum_from_the_first_line_on() -> None:
    with pytest.raises(DecodeError, match="CRC-32 is 00000000"):
        LineCheck("auto").strip(b"line*00000000")


def test_each_kind_of_check_treats_lines_its_own_way() -> None:
    assert LineCheck("none").strip(b"anything*00") == b"anything*00"
    assert LineCheck("crc32").strip(b"123456789*CBF43926") == DIGITS
    assert LineCheck("nmea").strip(b"$A*41") == b"A"
    with pytest.raises(ValueError, match="expected one of none, crc32, nmea, auto"):
        LineCheck("crc16")
