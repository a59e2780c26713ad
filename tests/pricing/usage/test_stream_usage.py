"""Usage gathered from streams, fed with the SDKs' own chunks and events."""

import pytest

from costscope.errors import InvalidUsage
from costscope.pricing.usage.stream_usage import StreamUsage
from costscope.pricing.usage.usage_fields import Usage


def chunk(*, content=None, finish=None, usage=None, choices=None):
    one = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": one if choices is None else choices,
        "usage": usage,
    }


CHAT_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize("as_objects", [False, True])
def test_an_openai_chat_stream_is_complete_at_its_finish_reason_and_reports_in_its_last_chunk(as_objects):
    from openai.types.chat import ChatCompletionChunk

    stream = StreamUsage()
    seen = []
    for item in [
        chunk(content="a"),
        chunk(content="b"),
        chunk(finish="stop"),
        chunk(choices=[], usage=CHAT_USAGE),
    ]:
        stream.feed(ChatCompletionChunk.model_validate(item) if as_objects else item)
        seen.append((stream.complete, stream.usage() is not None))
    assert seen == [(False, False), (False, False), (True, False), (True, True)]
    assert stream.usage() == Usage(10, 5, model="gpt-4o-mini")


def test_a_chat_stream_of_two_choices_is_complete_when_both_are():
    stream = StreamUsage()
    stream.feed(chunk(choices=[{"index": 0, "delta": {}}, {"index": 1, "delta": {}}]))
    stream.feed(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    assert not stream.complete
    stream.feed(chunk(choices=[{"index": 1, "delta": {}, "finish_reason": "length"}]))
    assert stream.complete


@pytest.mark.parametrize("ending", ["response.completed", "response.incomplete", "response.failed"])
def test_an_openai_responses_stream_reports_in_its_last_event(ending):
    stream = StreamUsage()
    stream.feed({"type": "response.output_text.delta", "delta": "a"})
    assert not stream.complete
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    stream.feed({"type": ending, "response": {"model": "gpt-5.2", "usage": usage}})
    assert stream.complete
    assert stream.usage() == Usage(10, 5, model="gpt-5.2")


@pytest.mark.parametrize("as_objects", [False, True])
def test_an_anthropic_stream_merges_its_start_with_its_deltas(as_objects):
    from anthropic.types import RawMessageStreamEvent
    from pydantic import TypeAdapter

    start = {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 0},
                "output_tokens": 1,
                "service_tier": "batch",
            },
        },
    }
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 50, "cache_read_input_tokens": 20},
    }
    parse = TypeAdapter(RawMessageStreamEvent).validate_python if as_objects else dict
    stream = StreamUsage()
    stream.feed(parse(start))
    stream.feed(parse(text))
    assert stream.usage() == Usage(60, 1, 20, 30, 30, model="claude-haiku-4-5", tier="batch")
    stream.feed(parse(delta))
    assert not stream.complete
    stream.feed(parse({"type": "message_stop"}))
    assert stream.complete
    assert stream.usage() == Usage(60, 50, 20, 30, 30, model="claude-haiku-4-5", tier="batch")


def test_a_gemini_stream_reports_running_totals_and_the_last_one_counts():
    from google.genai.types import GenerateContentResponse

    stream = StreamUsage()
    for output, reason in [(1, None), (2, None), (5, "STOP")]:
        item = {
            "candidates": [{"index": 0, "finishReason": reason}],
            "usageMetadata": {
                "promptTokenCount": 10,
                "candidatesTokenCount": output,
                "totalTokenCount": 10 + output,
            },
        }
        assert not stream.complete
        stream.feed(GenerateContentResponse.model_validate(item))
    assert stream.complete
    assert stream.usage() == Usage(10, 5)


def test_text_and_other_things_say_nothing():
    stream = StreamUsage()
    for item in ["a", b"b", None, 5, object(), {}, {"type": 7}, [1]]:
        stream.feed(item)
    assert not stream.complete
    assert stream.usage() is None


def test_a_users_generator_may_yield_its_usage():
    stream = StreamUsage()
    stream.feed("a")
    stream.feed(Usage(10, 5))
    assert stream.usage() == Usage(10, 5)


def test_a_bad_report_never_breaks_the_stream_but_is_refused_afterwards():
    stream = StreamUsage()
    stream.feed(chunk(choices=[], usage={"prompt_tokens": -1, "completion_tokens": 5}))
    with pytest.raises(InvalidUsage):
        stream.usage()
