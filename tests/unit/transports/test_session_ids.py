from __future__ import annotations

import msgspec
import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.transports.session_ids import GOOD_SECONDS, SessionIds, _text_of

SECRET = b"a secret of all replicas, long enough"
ALICE = Principal("key:alice", frozenset({"*"}), roles=frozenset({"b", "a"})).owner


def test_an_id_tells_every_process_with_the_secret_what_its_session_is() -> None:
    made = SessionIds(SECRET, slot=3).make(ALICE, "2025-11-25", {"elicitation": {"url": {}}})
    facts = SessionIds(SECRET).read(made, ALICE)

    assert facts is not None
    assert (facts.slot, facts.version, facts.capabilities) == (3, "2025-11-25", ["elicitation"])
    assert made.startswith("3-")
    assert made.isascii()
    assert made.isprintable()


@pytest.mark.parametrize(
    "reader", [SessionIds(b"another secret that is as long as that"), SessionIds()]
)
def test_an_id_means_nothing_to_a_process_with_another_secret(reader: SessionIds) -> None:
    assert reader.read(SessionIds(SECRET).make(ALICE, "2025-11-25", {}), ALICE) is None


def test_an_id_means_nothing_with_the_credential_of_somebody_else() -> None:
    ids = SessionIds(SECRET)
    made = ids.make(ALICE, "2025-11-25", {})

    less = Principal("key:alice", frozenset({"Company:read"}), roles=frozenset({"a", "b"})).owner
    assert ids.read(made, ANONYMOUS.owner) is None
    assert ids.read(made, less) is None
    assert ids.read(made, ALICE) is not None


def test_whatever_was_changed_is_no_id() -> None:
    ids = SessionIds(SECRET)
    made = ids.make(ALICE, "2025-11-25", {})
    for position in range(len(made)):
        changed = chr(ord(made[position]) ^ 1)
        assert ids.read(f"{made[:position]}{changed}{made[position + 1 :]}", ALICE) is None
    for other in ("", "-", "0-", "0-!", "nobody", made[2:], f"0{made}", "0-" + "A" * 5000):
        assert ids.read(other, ALICE) is None


def test_an_id_of_another_version_of_the_server_is_none() -> None:
    ids = SessionIds(SECRET)
    body = msgspec.msgpack.encode([1, b"nonce"])
    signed = ids._signature(body, ALICE) + body

    assert ids.read(f"0-{_text_of(signed)}", ALICE) is None


def test_an_id_stays_short_whatever_a_client_declares() -> None:
    ids = SessionIds(SECRET)
    capabilities = {"€" * 62 + str(number): {} for number in range(10, 42)} | {"sampling": {}}

    made = ids.make(ALICE, "2025-11-25", capabilities)

    facts = ids.read(made, ALICE)
    assert facts is not None
    assert facts.capabilities == ["sampling"]


@pytest.mark.parametrize("version", ["1", "12", "123"])
def test_a_session_has_one_id(version: str) -> None:
    ids = SessionIds(SECRET)
    made = ids.make(ALICE, version, {})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = [each for each in alphabet if ids.read(made[:-1] + each, ALICE) is not None]
    # Base64 has several texts for the same bytes, where they do not come out even.
    assert good == [made[-1]]
    assert ids.read(f"{made}=", ALICE) is None


def test_an_id_is_good_for_a_day() -> None:
    now = 1000.0
    ids = SessionIds(SECRET, clock=lambda: now)
    made = ids.make(ALICE, "2025-11-25", {})
    now += GOOD_SECONDS - 1
    assert ids.read(made, ALICE) is not None
    now += 1
    assert ids.read(made, ALICE) is None


def test_a_client_that_declares_much_gets_an_id_that_fits_into_a_header() -> None:
    much = {f"{'x' * 50}{number}": {} for number in range(1000)} | {"y" * 1000: {}}
    made = SessionIds(SECRET).make(ALICE, "2025-11-25", much)

    assert len(made) < 4096
    assert SessionIds(SECRET).read(made, ALICE) is not None
