"""Shared access signatures, as Azure IoT Hub checks them, and fingerprints of keys. Pure: the clock is an argument.

    SharedAccessSignature sr={R}&sig={S}&se={E}[&skn={policy}]

R is the URL-encoded resource, E the expiry in seconds since the epoch, S the URL-encoded base64 of HMAC-SHA256 over
"R\\nE" (R as it stands in the token) with the decoded key. hmac loads OpenSSL (4 MiB), so it is imported by the first
call that signs, not by the start of the supervisor.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable

_PREFIX = "SharedAccessSignature "
_FIELDS = {"sr", "sig", "se", "skn"}
_MAX_TOKEN_CHARS = 2_048  # names have at most 128 characters, a host 255
_FINGERPRINT_CHARS = 16


def resource_uri(hub: str, device: str, module: str = "") -> str:
    """Return the resource that a token of this device or module is for; `hub` is a host name."""
    tail = f"/modules/{module}" if module else ""
    return f"{hub}/devices/{device}{tail}"


def sign(resource: str, key_base64: str, expiry_s: int, *, policy: str = "") -> str:
    """Return a token for `resource`, as `resource_uri` writes it, valid until `expiry_s` seconds since the epoch.

    Raises:
        ValueError: the key is not base64 or empty, or the expiry is below 0.
    """
    from urllib.parse import quote

    if expiry_s < 0:
        raise ValueError(f"expiry_s = {expiry_s}: expected seconds since the epoch")
    encoded = quote(resource, safe="")
    signature = quote(digest(key_base64, f"{encoded}\n{expiry_s}".encode()), safe="")
    name = f"&skn={quote(policy, safe='')}" if policy else ""
    return f"{_PREFIX}sr={encoded}&sig={signature}&se={expiry_s}{name}"


def verify(token: str, keys_base64: Iterable[str], *, resource: str, now_s: float) -> bool:
    """Return True when one of the keys signed this token, it is for `resource`, and it has not expired.

    How long the answer takes does not depend on where a signature differs, nor on which key made it. Whatever is no
    token gives False.

    Raises:
        ValueError: a key is not base64 or empty.
    """
    from urllib.parse import unquote

    found = _fields(token)
    expiry = found.get("se", "")
    if not (expiry.isascii() and expiry.isdigit()) or unquote(found.get("sr", "")) != resource:
        return False
    signed = f"{found['sr']}\n{expiry}".encode("utf-8", "surrogatepass")
    given = unquote(found.get("sig", "")).encode("utf-8", "surrogatepass")
    is_signed = _is_signed(given, signed, keys_base64)
    return is_signed and int(expiry) > now_s


def digest(key_base64: str, data: bytes) -> str:
    """Return HMAC-SHA256 of `data` under the key, in base64.

    Raises:
        ValueError: the key is not base64 or empty.
    """
    import hmac

    key = base64.b64decode(key_base64, validate=True)
    if not key:
        raise ValueError("the key is empty: expected base64 of at least one byte")
    return base64.b64encode(hmac.new(key, data, "sha256").digest()).decode()


def fingerprint(key_base64: str) -> str:
    """Return what may be shown of a key: the first 16 hexadecimal digits of the SHA-256 of its bytes.

    Raises:
        ValueError: the key is not base64.
    """
    return _sha256_hex(base64.b64decode(key_base64, validate=True))[:_FINGERPRINT_CHARS]


def _fields(token: str) -> dict[str, str]:
    """Return the fields of a token; {} when it is none, or says something twice."""
    if len(token) > _MAX_TOKEN_CHARS or not token.startswith(_PREFIX):
        return {}
    pairs = [part.partition("=") for part in token[len(_PREFIX) :].split("&")]
    found = {name: value for name, _, value in pairs}
    return found if len(found) == len(pairs) and found.keys() <= _FIELDS else {}


def _is_signed(given: bytes, signed: bytes, keys_base64: Iterable[str]) -> bool:
    import hmac

    matches = [hmac.compare_digest(given, digest(key, signed).encode()) for key in keys_base64]
    return any(matches)


def _sha256_hex(data: bytes) -> str:
    # `hashlib` loads OpenSSL into the supervisor for good; the interpreter has the plain function, too, unless it was
    # built without: _sha2 from Python 3.12 on, _sha256 before.
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            sha256 = importlib.import_module(name).sha256
        except ImportError:
            continue
        text: str = sha256(data).hexdigest()
        return text
    raise ImportError("this Python has no SHA-256")
