"""Usage read from results of every shape, as dicts and as the SDKs' own objects."""

import math
from types import SimpleNamespace

import pytest

from costscope.errors import InvalidUsage
from costscope.pricing.usage.shapes import coerce_usage, read_usage
from costscope.pricing.usage.usage_fields import Usage

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [],
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 5, "cache_write_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3},
    },
}
CHAT_USAGE = Usage(
    100,
    50,
    40,
    7,
    reasoning_tokens=20,
    input_audio_tokens=5,
    output_audio_tokens=3,
    model="gpt-4o-mini-2024-07-18",
    tier="default",
)
RESPONSE_USAGE = {
    "input_tokens": 100,
    "output_tokens": 50,
    "total_tokens": 150,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 20},
}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 12},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        "service_tier": "standard",
    },
}
MESSAGE_USAGE = Usage(
    100, 50, 60, 30, 20, reasoning_tokens=12, web_searches=2, model="claude-sonnet-4-5", tier="standard"
)
GEMINI = {
    "modelVersion": "gemini-2.5-pro",
    "candidates": [],
    "usageMetadata": {
        "promptTokenCount": 90,
        "toolUsePromptTokenCount": 10,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 150,
        "promptTokensDetails": [
            {"modality": "AUDIO", "tokenCount": 5},
            {"modality": "TEXT", "tokenCount": 85},
        ],
        "trafficType": "ON_DEMAND",
    },
}
GEMINI_USAGE = Usage(
    100, 50, 40, reasoning_tokens=20, input_audio_tokens=5, model="gemini-2.5-pro", tier="on_demand"
)


def test_openai_chat_includes_cached_and_reasoning_tokens_in_its_totals():
    from openai.types.chat import ChatCompletion

    assert read_usage(CHAT) == CHAT_USAGE
    assert read_usage(ChatCompletion.model_validate(CHAT)) == CHAT_USAGE


def test_openai_responses_as_dict_and_as_sdk_usage():
    from openai.types.responses import ResponseUsage

    expected = Usage(100, 50, 40, reasoning_tokens=20)
    assert read_usage({"usage": RESPONSE_USAGE}) == expected
    assert read_usage(SimpleNamespace(usage=ResponseUsage.model_validate(RESPONSE_USAGE))) == expected


def test_anthropic_excludes_cached_tokens_from_its_input_so_they_are_added():
    from anthropic.types import Message

    assert read_usage(MESSAGE) == MESSAGE_USAGE
    assert read_usage(Message.model_validate(MESSAGE)) == MESSAGE_USAGE


def test_anthropic_compaction_is_in_no_total_so_it_is_added():
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {
                "type": "compaction",
                "input_tokens": 100,
                "output_tokens": 20,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 4,
            },
        ],
    }
    assert read_usage({"usage": usage}) == Usage(117, 25, 3, 4)


def test_anthropic_fast_mode_is_a_tier():
    usage = {**MESSAGE["usage"], "speed": "fast"}
    assert read_usage({**MESSAGE, "usage": usage}).tier == "fast"


def test_gemini_adds_tool_results_to_input_and_thoughts_to_output():
    from google.genai.types import GenerateContentResponse

    assert read_usage(GEMINI) == GEMINI_USAGE
    assert read_usage(GenerateContentResponse.model_validate(GEMINI)) == GEMINI_USAGE


def test_gemini_thoughts_that_are_inside_the_candidates_are_not_added_twice():
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 40,
    }
    assert read_usage({"usageMetadata": usage}) == Usage(10, 30, reasoning_tokens=20)


def test_gemini_thoughts_are_output_where_no_total_is_given():
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 30, "thoughtsTokenCount": 20}
    assert read_usage({"usageMetadata": usage}) == Usage(10, 50, reasoning_tokens=20)


def test_litellm_counts_anthropics_cache_inside_and_names_its_cost():
    result = SimpleNamespace(
        model="claude-sonnet-4-5",
        usage=SimpleNamespace(
            prompt_tokens=100,
            completion_tokens=50,
            total_tokens=150,
            cache_read_input_tokens=60,
            cache_creation_input_tokens=30,
        ),
        _hidden_params={"response_cost": 0.00123, "custom_llm_provider": "anthropic"},
    )
    expected = Usage(100, 50, 60, 30, model="claude-sonnet-4-5", provider="anthropic", cost_nano=1_230_000)
    assert read_usage(result) == expected


def test_litellms_zero_is_not_a_cost_but_a_price_it_does_not_know():
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    result = SimpleNamespace(usage=usage, _hidden_params={"response_cost": 0.0})
    assert read_usage(result).cost_nano is None


@pytest.mark.parametrize(
    ("extra", "nano"),
    [
        ({"cost": 0.0000001}, 100),
        ({"cost": 1.5e-10}, 1),
        ({"cost": 0}, 0),
        ({"cost": {"total_cost": 0.25}}, 250_000_000),
        ({"cost": 0.01, "is_byok": True}, None),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 210_000_000),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, 10_000_000),
    ],
)
def test_a_cost_sent_by_openrouter_or_perplexity_is_kept_rounded_up(extra, nano):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, **extra}
    assert read_usage({"usage": usage}).cost_nano == nano


@pytest.mark.parametrize("cost", [-0.1, math.nan, math.inf, "free", 1e30, True])
def test_an_absurd_cost_is_refused(cost):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": cost}
    with pytest.raises(InvalidUsage):
        read_usage({"usage": usage})


def test_langchain_is_inclusive_and_bedrock_is_not():
    langchain = SimpleNamespace(
        usage_metadata={
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_token_details": {"cache_read": 60, "cache_creation": 0, "ephemeral_1h_input_tokens": 20},
            "output_token_details": {"reasoning": 5},
        }
    )
    assert read_usage(langchain) == Usage(100, 50, 60, 20, 20, reasoning_tokens=5)
    bedrock = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 25, "cacheReadInputTokens": 10}
    assert read_usage({"usage": bedrock}) == Usage(20, 5, 10)


def test_tokens_that_only_the_total_knows_are_output():
    """xAI leaves reasoning tokens out of completion_tokens."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert read_usage({"usage": usage}) == Usage(10, 105, reasoning_tokens=100)


def test_an_embedding_has_no_output():
    assert read_usage({"usage": {"prompt_tokens": 7, "total_tokens": 7}}) == Usage(7, 0)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        b"x",
        5,
        [1],
        (),
        {},
        {"usage": None},
        {"usage": {}},
        {"usage": 5},
        object(),
        {"usage": dict},
    ],
)
def test_a_result_without_usage_has_none(result):
    assert read_usage(result) is None


def test_a_result_whose_property_raises_has_none():
    class Broken:
        @property
        def usage(self):
            raise RuntimeError("the body was not read")

    assert read_usage(Broken()) is None


BAD = [
    {"prompt_tokens": -1, "completion_tokens": 1},
    {"prompt_tokens": math.nan, "completion_tokens": 1},
    {"prompt_tokens": math.inf, "completion_tokens": 1},
    {"prompt_tokens": True, "completion_tokens": 1},
    {"prompt_tokens": "12", "completion_tokens": 1},
    {"prompt_tokens": 1.5, "completion_tokens": 1},
    {"prompt_tokens": 10**10, "completion_tokens": 1},
    {"prompt_tokens": 5},
    {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 9},
    {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
    {"prompt_tokens": 5, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
    {"input_tokens": 5},
    {"input_tokens": -5, "output_tokens": 1},
    {"input_tokens": 5, "output_tokens": 5, "cache_read_tokens": 6},
    {"input_tokens": 5, "cache_read_input_tokens": 5},
    {"input_tokens": 5, "output_tokens": 5, "cache_read_input_tokens": -1, "cache_creation_input_tokens": 0},
    {
        "input_tokens": 5,
        "output_tokens": 5,
        "cache_read_input_tokens": 0,
        "iterations": [{"type": "advisor_message", "model": "x"}],
    },
    {"prompt_token_count": 5, "candidates_token_count": 5, "total_token_count": 9},
    {"promptTokenCount": 5, "candidatesTokenCount": 5, "cachedContentTokenCount": 6},
    {"inputTokens": 5},
]


@pytest.mark.parametrize("usage", BAD)
def test_usage_that_cannot_be_believed_is_refused(usage):
    with pytest.raises(InvalidUsage):
        read_usage({"usage": usage})
    with pytest.raises(InvalidUsage):
        read_usage(SimpleNamespace(usage=SimpleNamespace(**usage)))


def test_a_whole_number_as_a_float_is_accepted():
    assert read_usage({"usage": {"prompt_tokens": 5.0, "completion_tokens": 2.0}}) == Usage(5, 2)


@pytest.mark.parametrize(
    "value",
    [
        Usage(10, 5),
        (10, 5),
        {"input_tokens": 10, "output_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": 5},
        {"usage": {"input_tokens": 10, "output_tokens": 5}},
        SimpleNamespace(input_tokens=10, output_tokens=5),
    ],
)
def test_a_users_usage_function_may_return_any_of_these(value):
    assert coerce_usage(value) == Usage(10, 5)


def test_a_users_usage_function_may_not_know():
    assert coerce_usage(None) is None


@pytest.mark.parametrize(
    "value",
    [5, "10", [10, 5], (1,), (1, 2, 3), {}, object(), (math.nan, 1), (True, 1), (-1, 1), {"tokens": 5}],
)
def test_a_users_usage_function_may_return_nothing_else(value):
    with pytest.raises(InvalidUsage, match="usage"):
        coerce_usage(value)
