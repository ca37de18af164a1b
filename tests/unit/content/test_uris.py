from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.content.uris import Address, canonical, model_uri, parse, record_uri

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(TEXTS, TEXTS)
def test_what_is_written_is_read_again(model: str, key: str) -> None:
    assert parse(record_uri(model, key)) == Address(model, key)
    assert parse(model_uri(model)) == Address(model)


@given(st.text(max_size=60))
def test_a_uri_that_is_read_is_the_only_one_of_its_record(rest: str) -> None:
    uri = f"dataflow://models/{rest}"
    address = parse(uri)

    if address is not None:
        written = (
            model_uri(address.model)
            if address.record is None
            else record_uri(address.model, address.record)
        )
        assert written == uri


@given(st.text(max_size=60))
def test_the_proposed_form_of_a_uri_is_one(rest: str) -> None:
    proposed = canonical(f"dataflow://models/{rest}")

    assert proposed is None or parse(proposed) is not None


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("dataflow://models", None),
        ("dataflow://models/", None),
        ("dataflow://models//c1", None),
        ("dataflow://models/Company/", "dataflow://models/Company"),
        ("dataflow://models/Company/a/b", "dataflow://models/Company/a%2Fb"),
        ("dataflow://models/Company/a b", "dataflow://models/Company/a%20b"),
        ("dataflow://models/Company/a%2fb", "dataflow://models/Company/a%2Fb"),
        ("dataflow://models/Company/%61", "dataflow://models/Company/a"),
        ("dataflow://models/Company/ü", "dataflow://models/Company/%C3%BC"),
        ("dataflow://models/Company/c1?x=1", "dataflow://models/Company/c1%3Fx%3D1"),
        ("dataflow://models/Company/100%", None),
        ("dataflow://models/Company/%FF", None),
        ("dataflow://models/Company/\ud800", None),
        ("DATAFLOW://models/Company", None),
        ("file:///etc/passwd", None),
        ("", None),
    ],
)
def test_another_spelling_is_no_uri_and_the_right_one_is_proposed(
    uri: str, form: str | None
) -> None:
    assert parse(uri) is None
    assert canonical(uri) == form
