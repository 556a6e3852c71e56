"""Tokens against an implementation that shares nothing with ours: the openssl program, and RFC 2104 spelled out."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys

import pytest
from support.requirements import require_program

from microedge.identity.token import digest, fingerprint, resource_uri, sign, verify

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()
RESOURCE = "hub.example/devices/greenhouse-7/modules/north"
EXPIRY_S = 1_795_448_392


def hmac_by_definition(key: bytes, data: bytes) -> bytes:
    """RFC 2104: H(K xor opad, H(K xor ipad, text)), with a block of 64 bytes."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + data).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


# Each made with:
#   R=...; E=...; S=$(printf '%s\n%s' "$R" "$E" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$HEX -binary | base64)
# where HEX is the decoded key, and S then URL-encoded by hand (+ is %2B, / is %2F, = is %3D).
VECTORS = [
    (
        "hub.example/devices/greenhouse-7/modules/north",
        KEY,
        1795448392,
        "SharedAccessSignature sr=hub.example%2Fdevices%2Fgreenhouse-7%2Fmodules%2Fnorth"
        "&sig=GFQdp38lNIT8SXqBzSBos%2BFnZYIWJ4rjJjCrRTMMEt4%3D&se=1795448392",
    ),
    (
        "hub.example/devices/greenhouse-7",
        KEY,
        1795448392,
        "SharedAccessSignature sr=hub.example%2Fdevices%2Fgreenhouse-7"
        "&sig=TlRZpu0RdlNpqw61515MKOa2i76J0k9Uu0kN2QxxEvE%3D&se=1795448392",
    ),
    (
        "hub.example/devices/a b%+ü~_.-",
        OTHER_KEY,
        0,
        "SharedAccessSignature sr=hub.example%2Fdevices%2Fa%20b%25%2B%C3%BC~_.-"
        "&sig=HWfImJoJ%2B3KAd%2BGlSYfsKdXT5mXg%2FH%2BgT0kVq0k6m7I%3D&se=0",
    ),
    (
        "h",
        base64.b64encode(b"\xff" * 64).decode(),
        4294967296,
        "SharedAccessSignature sr=h&sig=dh4m3VGK2fii7gewxA8WXqUQLhtXwkYmFErYo0AhCn0%3D&se=4294967296",
    ),
]


@pytest.mark.parametrize(("resource", "key", "expiry_s", "token"), VECTORS)
def test_a_token_is_what_openssl_makes(resource, key, expiry_s, token):
    assert sign(resource, key, expiry_s) == token


@pytest.mark.parametrize(("resource", "key", "expiry_s", "token"), VECTORS)
def test_the_vectors_are_what_the_openssl_of_this_machine_makes(resource, key, expiry_s, token):
    openssl = require_program("openssl")
    encoded = token.partition("sr=")[2].partition("&")[0]
    command = [
        openssl,
        "dgst",
        "-sha256",
        "-mac",
        "HMAC",
        "-macopt",
        f"hexkey:{base64.b64decode(key).hex()}",
        "-binary",
    ]
    made = subprocess.run(command, input=f"{encoded}\n{expiry_s}".encode(), capture_output=True, check=True).stdout
    signature = base64.b64encode(made).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")

    assert f"&sig={signature}&" in token


@pytest.mark.parametrize("key_bytes", [1, 32, 64, 65, 200])
def test_a_digest_is_that_of_rfc_2104(key_bytes):
    key = bytes(number % 256 for number in range(key_bytes))

    found = digest(base64.b64encode(key).decode(), b"some data")

    assert base64.b64decode(found) == hmac_by_definition(key, b"some data")


def test_the_answer_to_rfc_4231_case_2_is_right():
    found = digest(base64.b64encode(b"Jefe").decode(), b"what do ya want for nothing?")

    assert base64.b64decode(found).hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_a_policy_is_named_at_the_end():
    token = sign("hub.example", KEY, EXPIRY_S, policy="a b")

    assert token.endswith(f"&se={EXPIRY_S}&skn=a%20b")
    assert verify(token, [KEY], resource="hub.example", now_s=0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("hub.example", "greenhouse-7"), "hub.example/devices/greenhouse-7"),
        (("hub.example", "greenhouse-7", "north"), RESOURCE),
    ],
)
def test_a_resource_is_a_path_below_the_hub(arguments, expected):
    assert resource_uri(*arguments) == expected


@pytest.mark.parametrize("key", ["", "====", "no base64!", "ü", "abc"])
def test_a_key_that_is_none_signs_nothing(key):
    with pytest.raises(ValueError):  # noqa: PT011 (binascii words it)
        sign(RESOURCE, key, EXPIRY_S)


def test_a_token_expires_in_the_future_of_the_epoch():
    with pytest.raises(ValueError, match="expiry_s = -1: expected seconds since the epoch"):
        sign(RESOURCE, KEY, -1)


@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER_KEY], [OTHER_KEY, KEY]])
def test_a_token_of_either_key_is_accepted(keys):
    assert verify(sign(RESOURCE, KEY, EXPIRY_S), keys, resource=RESOURCE, now_s=EXPIRY_S - 1)


GOOD = sign(RESOURCE, KEY, EXPIRY_S)


@pytest.mark.parametrize(
    ("token", "keys", "resource", "now_s"),
    [
        pytest.param(GOOD, [KEY], RESOURCE, EXPIRY_S, id="expired"),
        pytest.param(GOOD, [OTHER_KEY], RESOURCE, 0, id="another key"),
        pytest.param(GOOD, [], RESOURCE, 0, id="no key"),
        pytest.param(GOOD, [KEY], RESOURCE.replace("north", "south"), 0, id="another module"),
        pytest.param(GOOD, [KEY], "hub.example/devices/greenhouse-7", 0, id="the device"),
        pytest.param(GOOD.replace(str(EXPIRY_S), str(EXPIRY_S + 1)), [KEY], RESOURCE, 0, id="prolonged"),
        pytest.param(GOOD.replace("north", "south"), [KEY], RESOURCE.replace("north", "south"), 0, id="renamed"),
        pytest.param(GOOD.replace("&sig=", "&sig=A"), [KEY], RESOURCE, 0, id="longer signature"),
        pytest.param(GOOD.replace("Shared", "shared"), [KEY], RESOURCE, 0, id="another scheme"),
        pytest.param(GOOD + f"&se={EXPIRY_S}", [KEY], RESOURCE, 0, id="a field twice"),
        pytest.param(GOOD + "&more=1", [KEY], RESOURCE, 0, id="an unknown field"),
        pytest.param(GOOD.replace(f"se={EXPIRY_S}", "se="), [KEY], RESOURCE, 0, id="no expiry"),
        pytest.param(GOOD.replace(f"se={EXPIRY_S}", "se=٣"), [KEY], RESOURCE, 0, id="digits of another script"),
        pytest.param(GOOD + "x" * 4_000, [KEY], RESOURCE, 0, id="too long"),
        pytest.param("SharedAccessSignature ", [KEY], RESOURCE, 0, id="empty"),
        pytest.param("", [KEY], RESOURCE, 0, id="nothing"),
    ],
)
def test_a_token_that_is_not_right_is_refused(token, keys, resource, now_s):
    assert not verify(token, keys, resource=resource, now_s=now_s)


def test_only_the_first_signature_loads_openssl():
    """The supervisor shows fingerprints; they must not cost it 4 MiB for the rest of its life."""
    fingerprint_only = f"import sys; from microedge.identity import token; token.fingerprint({KEY!r})"
    loaded = f"{fingerprint_only}; print('hashlib' in sys.modules, 'hmac' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_fingerprint_can_be_had_from_sha256sum():
    """printf %s "$KEY" | base64 -d | sha256sum | cut -c-16"""
    assert fingerprint(KEY) == hashlib.sha256(bytes(range(32))).hexdigest()[:16]
