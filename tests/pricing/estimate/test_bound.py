"""The bound of text holds for every tokenizer that is byte-level, or normalises with NFKC first."""

import dataclasses
import enum
import io
import logging
import unicodedata
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.errors import ModelUnpriced
from costscope.pricing.estimate.bound import CALL_SLACK, Bound, input_bound, text_bound
from costscope.pricing.prices.price_rules import PriceRule

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates as well
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(any_text, inner, max_size=5),
    max_leaves=20,
)


def utf8(text):
    return len(text.encode("utf-8", "surrogatepass"))


def leaves(value):
    """The text that a provider could make of a value, at the least: every key and leaf, one after the other."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield (
            {None: "null", True: "true", False: "false"}.get(value)
            if isinstance(value, bool | None)
            else repr(value)
        )


def test_ascii_is_bounded_by_its_length():
    assert text_bound("hello" * 60) == Bound(300)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\ufdfa", 33),  # 3 bytes; NFKC makes 18 letters and spaces of it
        ("\ufdfa" * 1000, 33_000),
        ("\u3316", 18),  # one square sign, six katakana
        ("\u1e9b\u0323", 5),  # NFKC is shorter: the plain bytes count
        ("e\u0301", 3),
        ("😀", 4),
        ("\ud800", 3),  # a lone surrogate
        ("한국어", 9),
        ("\x00" * 10, 10),
        ("", 0),
    ],
)
def test_text_is_bounded_by_the_longer_of_its_bytes_and_its_nfkc_form(text, tokens):
    assert text_bound(text).tokens == tokens
    assert text_bound({"content": text}).tokens >= tokens


@given(any_text)
def test_no_text_has_fewer_tokens_in_its_bound_than_bytes_in_either_form(text):
    assert text_bound(text).tokens == max(utf8(text), utf8(unicodedata.normalize("NFKC", text)))


@given(st.text(), st.text())
def test_the_bound_covers_the_normal_form_of_two_texts_put_together(one, other):
    """Templates concatenate: a combining mark at the start of one text may join the end of the other."""
    joined = unicodedata.normalize("NFKC", one + other)
    assert utf8(joined) <= text_bound(one).tokens + text_bound(other).tokens + 4


@given(json_values)
def test_nested_text_is_summed_with_keys_and_numbers(value):
    assert text_bound(value).tokens >= sum(utf8(text) for text in leaves(value))


def test_messages_count_their_text_keys_and_a_frame():
    message = {"role": "user", "content": "x" * 300}
    assert 315 <= text_bound([message]).tokens <= 315 + 16 + 12
    assert text_bound([message] * 10).tokens == 10 * text_bound([message]).tokens


def test_the_same_message_twice_counts_twice_and_a_cycle_ends():
    one = {"role": "user", "content": "abc"}
    assert text_bound([one, one]).tokens == 2 * text_bound([one]).tokens
    loop = {"a": "text"}
    loop["self"] = [loop]
    assert text_bound(loop).media == ("a structure that contains itself",)

    class Node:
        def __init__(self):
            self.me = self

    assert text_bound([Node()]).media == ("a structure that contains itself",)


def test_depth_and_size_are_limited():
    deep = "text"
    for _ in range(10_000):
        deep = [deep]
    assert "too deep" in text_bound(deep).media[0]
    wide = ["x"]
    for _ in range(60):
        wide = [wide, wide]
    assert "large" in text_bound(wide).media[0]


@dataclasses.dataclass
class Turn:
    role: str
    content: str


class Struct(msgspec.Struct):
    content: str


class Plain:
    def __init__(self, content):
        self.content = content


class Slotted:
    __slots__ = ("content",)

    def __init__(self, content):
        self.content = content


class Role(enum.StrEnum):
    USER = "user" * 100


def test_message_objects_of_any_kind_are_looked_into():
    from openai.types.chat import ChatCompletionMessage

    text = "y" * 400
    for message in [
        Turn("user", text),
        Struct(text),
        Plain(text),
        Slotted(text),
        ChatCompletionMessage(role="assistant", content=text),
        Role.USER,
        (text,),
        {text},
        frozenset({text}),
        {1: text}.values(),
        Path("z" * 400),
        text.encode(),
        bytearray(text.encode()),
    ]:
        assert 400 <= text_bound([message]).tokens <= 600, message
        assert text_bound([message]).media == ()
    assert text_bound([datetime.now(UTC)]).tokens > 10


def test_machinery_counts_nothing():
    from openai import OpenAI

    with OpenAI(api_key="x" * 1000, base_url="http://127.0.0.1:1") as client:
        assert text_bound([client, logging.getLogger("x"), logging]).tokens < 20


def test_functions_and_models_given_as_tools_count_the_schema_an_sdk_makes_of_them():
    from pydantic import BaseModel

    def tool(city: str, days: int = 3):
        """Doc."""

    class Answer(BaseModel):
        a_rather_long_field_name: str

    assert text_bound([tool]).tokens > 128
    assert text_bound(Answer).tokens > len("a_rather_long_field_name")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_image", "image_url": "https://x"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "document", "source": {"type": "base64", "data": "AAAA"}},
        {"type": "document", "source": {"type": "file", "file_id": "x"}},
        {"type": "item_reference", "id": "x"},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]},
        {"inline_data": {"mime_type": "image/png", "data": b"x"}},
        {"fileData": {"fileUri": "gs://x"}},
        b"\xff\xfe\x00",
        io.BytesIO(b"x"),
        iter(["x"]),
        memoryview(b"\xff"),
    ],
)
def test_parts_whose_tokens_do_not_follow_from_their_bytes_are_noticed(part):
    assert text_bound([{"role": "user", "content": [part]}]).media
    assert text_bound([{"role": "user", "content": [part]}]).audio


def test_gemini_parts_as_sdk_objects_are_noticed():
    from google.genai import types

    assert text_bound([types.Part.from_bytes(data=b"x", mime_type="image/png")]).media
    assert text_bound([types.Part.from_text(text="abc")]).media == ()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "an image_url of a file"},
        {"type": "document", "source": {"type": "text", "data": "plain"}},
        {"role": "user", "content": "image"},
        {"inline_data": None},
    ],
)
def test_text_is_not_mistaken_for_something_else(part):
    assert text_bound([part]).media == ()


def test_schemas_of_tools_may_speak_of_images():
    schema = [{"type": "function", "function": {"parameters": {"properties": {"x": {"type": "image"}}}}}]
    assert text_bound(schema, tools=True).media == ()


def test_text_is_reserved_with_slack_for_what_the_provider_adds(price):
    assert input_bound(Bound(10), price, model="m") == 10 + CALL_SLACK


def test_what_text_does_not_bound_is_bounded_by_the_context_window():
    price = PriceRule(input=1, output=1, context_window=200_000).price("m", source="policy")
    assert input_bound(Bound(10, ("image_url",)), price, model="m") == 200_000
    assert input_bound(Bound(300_000, ("image_url",)), price, model="m") == 300_000 + CALL_SLACK


def test_without_a_window_it_is_refused_and_says_what_and_the_remedy(price):
    with pytest.raises(ModelUnpriced, match=r"my-model.*image_url.*estimate="):
        input_bound(Bound(10, ("image_url",)), price, model="my-model")


def test_a_window_below_the_price_lists_own_bands_is_not_trusted(book):
    with pytest.raises(ModelUnpriced, match="context window"):
        input_bound(Bound(10, ("image_url",)), book.find("claude-sonnet-4-5"), model="claude-sonnet-4-5")


def test_a_mapping_that_is_no_dict_counts_as_a_dict_does():
    message = {"role": "user", "content": "hello"}
    assert (
        text_bound([OrderedDict(message)]) == text_bound([MappingProxyType(message)]) == text_bound([message])
    )
