"""Identities under damage, and tokens of any names and keys."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from support.virtual_reactor import VirtualReactor

from microedge.identity.record import KEYS, Identity, decode, encode
from microedge.identity.store import IdentityStore
from microedge.identity.token import resource_uri, sign, verify

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
keys = st.binary(min_size=32, max_size=32).map(lambda key: base64.b64encode(key).decode())
texts = st.text(max_size=30)
identities = st.builds(Identity, names, st.just("") | names, texts.filter(bool), keys, keys, texts, texts, texts)


@given(identities)
def test_what_is_written_is_what_is_read(identity: Identity):
    assert decode(encode(identity)) == identity


@given(identities, st.data())
def test_a_changed_file_is_the_same_identity_or_is_noticed(identity: Identity, data: st.DataObject):
    content = bytearray(encode(identity))
    place = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(1, 4))  # a burst that the checksum finds for certain
    content[place : place + length] = data.draw(st.binary(max_size=length))

    assert decoded(bytes(content)) in (identity, None)


@given(st.binary(max_size=300))
def test_garbage_is_no_identity(garbage: bytes):
    assert decoded(garbage) is None


def decoded(content: bytes) -> Identity | None:
    try:
        return decode(content)
    except ValueError:
        return None


@given(names, names, keys, keys, st.integers(0, 2**40))
def test_a_token_is_good_for_its_resource_its_key_and_its_time_only(device, module, key, other_key, expiry_s):
    assume(key != other_key)
    resource = resource_uri("hub.example", device, module)
    token = sign(resource, key, expiry_s)

    assert verify(token, [other_key, key], resource=resource, now_s=expiry_s - 1)
    assert not verify(token, [key], resource=resource, now_s=expiry_s)
    assert not verify(token, [other_key], resource=resource, now_s=0)
    assert not verify(token, [key], resource=resource_uri("hub.example", device), now_s=0)


@given(st.text(), st.text(max_size=200))
def test_any_text_is_a_good_token_or_none(text: str, more: str):
    key = base64.b64encode(b"k" * 32).decode()

    assert not verify(text, [key], resource="r", now_s=0)
    assert not verify(f"SharedAccessSignature sr=r&sig={text}&se=9{more}", [key], resource="r", now_s=0)


# What may happen to one of the two files while the device is off.
damages = st.sampled_from(["none", "cut", "gone", "zeros", "old"])


@given(st.lists(st.tuples(st.sampled_from(["main", "copy"]), damages, st.sampled_from(KEYS)), max_size=6))
def test_as_long_as_one_file_is_whole_the_identity_is_kept(steps):
    """Each start damages one of the files; between two of them the other is made whole again, and a key rotates."""
    with tempfile.TemporaryDirectory() as directory:
        main = Path(directory) / "identities" / "north.json"
        paths = {"main": main, "copy": main.with_name("north.json.copy")}
        expected, old = None, b""
        for which, damage, key in [("main", "none", "primary"), *steps]:
            spoil(paths[which], damage, old)
            store, reactor = opened(directory)
            found = store.find("north")
            assert expected in (None, found) or (damage == "old" and found.generation == expected.generation)
            old = paths["main"].read_bytes() if paths["main"].exists() else b""
            settle(store, reactor)
            store.rotate("north", key, lambda why: None)
            settle(store, reactor)
            expected = store.find("north")
            store.close(5)


def opened(directory: str) -> tuple[IdentityStore, VirtualReactor]:
    reactor = VirtualReactor()
    store = IdentityStore(directory, "bench", reactor)
    store.open()
    store.follow(["north"], ["north"])
    return store, reactor


def settle(store: IdentityStore, reactor: VirtualReactor) -> None:
    reactor.turn()
    while store._saving:
        assert reactor.run_thread_call(5)


def spoil(path: Path, damage: str, old: bytes) -> None:
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "gone":
        path.unlink()
    elif damage == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "old" and old:
        path.write_bytes(old)  # a write that the card has not kept
