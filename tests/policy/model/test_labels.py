"""Label rules: what may be a name, what a value, and that no value can forge a key."""

import enum
import unicodedata
from types import MappingProxyType
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidLabel
from costscope.policy import check_labels, encode

# other work on the machine must not decide whether a test passes
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    "value", ["acme", "a b", "x" * 128, "{x}", "a:b", "a/b,c=d", "}{victim", "😀", "été", "نص", "٣", " "]
)
def test_printable_text_up_to_128_characters_is_a_value(value):
    assert check_labels({"tenant": value}) == {"tenant": value}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty; give it 1 to 128 characters"),
        ("x" * 129, "has 129 characters, the limit is 128"),
        ("x" * 10_240, "has 10240 characters, the limit is 128"),
        ("é" * 129, "has 129 characters"),
        ("a\0b", "control character (U+0000) at position 1"),
        ("a\nb", "control character (U+000A)"),
        ("a\x7f", "control character (U+007F)"),
        ("a\x85", "control character (U+0085)"),
        ("a\u2028b", "line separator (U+2028)"),
        ("a\ud800", "lone surrogate (U+D800)"),
        (None, "is a NoneType, not text"),
        (12, "is a int, not text; pass a str"),
        (True, "is a bool, not text"),
        (b"acme", "is a bytes, not text"),
    ],
)
def test_a_bad_value_is_refused_with_label_problem_limit_and_remedy(value, problem):
    with pytest.raises(InvalidLabel) as caught:
        check_labels({"run": "r-1", "tenant": value})
    message = str(caught.value)
    assert message.startswith("label tenant: ")
    assert problem in message


@pytest.mark.parametrize(
    "name",
    ["", "Tenant", "a-b", "1a", "a b", "a.b", "ténant", "x" * 65, "a\n", "a\0", "\ud800", "ª", 3, None],
)
def test_a_name_is_a_lower_case_identifier_of_at_most_64_characters(name):
    with pytest.raises(InvalidLabel, match="label "):
        check_labels({name: "acme"})


@pytest.mark.parametrize("name", ["a", "_", "tenant_2", "x" * 64, "class"])
def test_good_names(name):
    assert check_labels({name: "v"}) == {name: "v"}


@pytest.mark.parametrize(
    "labels", [{"tenant": "x" * 10_000_000}, {"x" * 100_000: "a"}, {"tenant": "\n" * 10_240}]
)
def test_the_message_is_one_short_line_whatever_was_sent(labels):
    with pytest.raises(InvalidLabel) as caught:
        check_labels(labels)
    message = str(caught.value)
    assert len(message) < 300
    assert message.isascii()
    assert "\n" not in message


def test_two_spellings_of_one_text_are_one_value():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert check_labels({"tenant": decomposed}) == {"tenant": composed}
    assert check_labels({"tenant": decomposed * 25}) == {"tenant": composed * 25}
    assert len("e\u0301" * 128) > 128
    assert check_labels({"tenant": "e\u0301" * 128}) == {"tenant": "é" * 128}


def test_values_are_case_sensitive():
    assert check_labels({"tenant": "Acme"}) != check_labels({"tenant": "acme"})


def test_a_str_enum_member_becomes_the_plain_text_it_stands_for():
    class Tenant(str, enum.Enum):  # noqa: UP042 - the older spelling, whose str() is "Tenant.ACME"
        ACME = "acme"

    checked = check_labels({"tenant": Tenant.ACME})
    assert checked == {"tenant": "acme"}
    assert type(checked["tenant"]) is str


def test_any_mapping_will_do_and_the_order_is_kept():
    checked = check_labels(MappingProxyType({"b": "1", "a": "2"}))
    assert list(checked) == ["b", "a"]


def test_the_result_is_a_new_dict():
    given_labels = {"tenant": "acme"}
    check_labels(given_labels)["tenant"] = "other"
    assert given_labels == {"tenant": "acme"}


@unhurried
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_encoding_is_reversible_and_leaves_no_separator(text):
    encoded = encode(text)
    assert unquote(encoded, errors="strict") == text
    assert not set(encoded) & set("/,=:{}\n \0")
    assert encoded.isascii()


@unhurried
@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())))
def test_any_mapping_is_either_checked_or_refused(labels):
    try:
        checked = check_labels(labels)
    except InvalidLabel:
        return
    assert list(checked) == list(labels)
    for value in checked.values():
        assert 0 < len(value) <= 128
        assert value == unicodedata.normalize("NFC", value)
    assert check_labels(checked) == checked
