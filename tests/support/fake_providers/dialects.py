"""How each provider's API looks on the wire: requests read, responses and stream events written.

A dialect is a class without state. `events` yields `(is_delta, event name or None, data)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_providers.answers import Answer, Charge

__all__ = ["DIALECTS", "Dialect", "Event"]

Json = dict[str, Any]
Event = tuple[bool, str | None, Json | str]


class Dialect(Protocol):
    """One API of one provider."""

    name: ClassVar[str]

    def text(self, body: Json) -> list[str]: ...
    def output_limit(self, body: Json) -> int | None: ...
    def response(self, ident: str, charge: Charge, answer: Answer) -> Json: ...
    def events(self, ident: str, body: Json, charge: Charge, answer: Answer) -> Iterator[Event]: ...
    def error(self, status: int) -> Json: ...


def _content_text(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [
        part["text"] for part in content or [] if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def _words(answer: Answer) -> list[str]:
    return [f"word{number} " for number in range(answer.pieces)]


def _openai_error(status: int) -> Json:
    return {"error": {"message": f"fake {status}", "type": "fake_error", "param": None, "code": None}}


class OpenAIChat:
    """POST /v1/chat/completions"""

    name: ClassVar[str] = "openai.chat"

    def text(self, body: Json) -> list[str]:
        return [text for message in body["messages"] for text in _content_text(message.get("content"))]

    def output_limit(self, body: Json) -> int | None:
        return body.get("max_completion_tokens", body.get("max_tokens"))

    def response(self, ident: str, charge: Charge, answer: Answer) -> Json:
        message = {"role": "assistant", "content": "".join(_words(answer)), "refusal": None}
        finish = "length" if charge.cut_at_limit else "stop"
        choices = [
            {"index": index, "message": message, "finish_reason": finish, "logprobs": None}
            for index in range(charge.choices)
        ]
        return {
            **self._head(ident, charge, "chat.completion"),
            "choices": choices,
            **({"usage": self._usage(charge)} if answer.usage else {}),
        }

    def events(self, ident: str, body: Json, charge: Charge, answer: Answer) -> Iterator[Event]:
        wanted = answer.usage and bool((body.get("stream_options") or {}).get("include_usage"))
        head = self._head(ident, charge, "chat.completion.chunk") | ({"usage": None} if wanted else {})
        finish = "length" if charge.cut_at_limit else "stop"
        indexes = range(charge.choices)
        for index in indexes:
            yield (
                False,
                None,
                {**head, "choices": [self._choice(index, {"role": "assistant", "content": ""}, None)]},
            )
        for word in _words(answer):
            yield (
                True,
                None,
                {**head, "choices": [self._choice(index, {"content": word}, None) for index in indexes]},
            )
        yield False, None, {**head, "choices": [self._choice(index, {}, finish) for index in indexes]}
        if wanted:
            yield False, None, {**head, "choices": [], "usage": self._usage(charge)}
        yield False, None, "[DONE]"

    def error(self, status: int) -> Json:
        return _openai_error(status)

    def _head(self, ident: str, charge: Charge, kind: str) -> Json:
        return {"id": f"chatcmpl-{ident}", "object": kind, "created": 1_700_000_000, "model": charge.model}

    def _choice(self, index: int, delta: Json, finish: str | None) -> Json:
        return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}

    def _usage(self, charge: Charge) -> Json:
        return {
            "prompt_tokens": charge.input_tokens,
            "completion_tokens": charge.output_tokens,
            "total_tokens": charge.input_tokens + charge.output_tokens,
            "prompt_tokens_details": {"cached_tokens": charge.cache_read_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": charge.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class OpenAIResponses:
    """POST /v1/responses"""

    name: ClassVar[str] = "openai.responses"

    def text(self, body: Json) -> list[str]:
        given = body["input"]
        items = [given] if isinstance(given, str) else [item.get("content") for item in given]
        return [text for item in [body.get("instructions"), *items] for text in _content_text(item)]

    def output_limit(self, body: Json) -> int | None:
        return body.get("max_output_tokens")

    def response(self, ident: str, charge: Charge, answer: Answer) -> Json:
        status = "incomplete" if charge.cut_at_limit else "completed"
        return {
            **self._shell(ident, charge, status),
            "incomplete_details": {"reason": "max_output_tokens"} if charge.cut_at_limit else None,
            "output": [self._item(ident, "".join(_words(answer)))],
            "usage": self._usage(charge) if answer.usage else None,
        }

    def events(self, ident: str, body: Json, charge: Charge, answer: Answer) -> Iterator[Event]:
        for number, (is_delta, data) in enumerate(self._numbered(ident, charge, answer)):
            yield is_delta, data["type"], {**data, "sequence_number": number}

    def error(self, status: int) -> Json:
        return _openai_error(status)

    def _numbered(self, ident: str, charge: Charge, answer: Answer) -> Iterator[tuple[bool, Json]]:
        where = {"item_id": f"msg_{ident}", "output_index": 0, "content_index": 0}
        shell, text = self._shell(ident, charge, "in_progress"), "".join(_words(answer))
        yield False, {"type": "response.created", "response": shell}
        yield False, {"type": "response.in_progress", "response": shell}
        item = {**self._item(ident, ""), "status": "in_progress", "content": []}
        yield False, {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield False, {"type": "response.content_part.added", **where, "part": self._part("")}
        for word in _words(answer):
            yield True, {"type": "response.output_text.delta", **where, "delta": word, "logprobs": []}
        yield False, {"type": "response.output_text.done", **where, "text": text, "logprobs": []}
        yield False, {"type": "response.content_part.done", **where, "part": self._part(text)}
        yield False, {"type": "response.output_item.done", "output_index": 0, "item": self._item(ident, text)}
        response = self.response(ident, charge, answer)
        yield False, {"type": f"response.{response['status']}", "response": response}

    def _shell(self, ident: str, charge: Charge, status: str) -> Json:
        return {
            "id": f"resp_{ident}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": charge.model,
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }

    def _item(self, ident: str, text: str) -> Json:
        content = [self._part(text)]
        return {
            "id": f"msg_{ident}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }

    def _part(self, text: str) -> Json:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _usage(self, charge: Charge) -> Json:
        return {
            "input_tokens": charge.input_tokens,
            "input_tokens_details": {
                "cached_tokens": charge.cache_read_tokens,
                "cache_write_tokens": charge.cache_write_tokens,
            },
            "output_tokens": charge.output_tokens,
            "output_tokens_details": {"reasoning_tokens": charge.reasoning_tokens},
            "total_tokens": charge.input_tokens + charge.output_tokens,
        }


class AnthropicMessages:
    """POST /v1/messages"""

    name: ClassVar[str] = "anthropic.messages"

    def text(self, body: Json) -> list[str]:
        contents = [body.get("system"), *(message["content"] for message in body["messages"])]
        return [text for content in contents for text in _content_text(content)]

    def output_limit(self, body: Json) -> int | None:
        return body["max_tokens"]  # this API requires it

    def response(self, ident: str, charge: Charge, answer: Answer) -> Json:
        return {
            **self._shell(ident, charge),
            "content": [{"type": "text", "text": "".join(_words(answer)), "citations": None}],
            "stop_reason": self._stop_reason(charge),
            **({"usage": self._usage(charge, charge.output_tokens)} if answer.usage else {}),
        }

    def events(self, ident: str, body: Json, charge: Charge, answer: Answer) -> Iterator[Event]:
        message = self._shell(ident, charge) | {"usage": self._usage(charge, min(1, charge.output_tokens))}
        block = {"type": "text", "text": "", "citations": None}
        final = {"stop_reason": self._stop_reason(charge), "stop_sequence": None}
        yield self._event({"type": "message_start", "message": message})
        yield self._event({"type": "content_block_start", "index": 0, "content_block": block})
        yield self._event({"type": "ping"})
        for word in _words(answer):
            delta = {"type": "text_delta", "text": word}
            yield True, "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
        yield self._event({"type": "content_block_stop", "index": 0})
        usage = {"output_tokens": charge.output_tokens}
        yield self._event({"type": "message_delta", "delta": final, "usage": usage})
        yield self._event({"type": "message_stop"})

    def error(self, status: int) -> Json:
        kinds = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return {
            "type": "error",
            "error": {"type": kinds.get(status, "api_error"), "message": f"fake {status}"},
        }

    def _event(self, data: Json) -> Event:
        return False, data["type"], data

    def _shell(self, ident: str, charge: Charge) -> Json:
        return {
            "id": f"msg_{ident}",
            "type": "message",
            "role": "assistant",
            "model": charge.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _stop_reason(self, charge: Charge) -> str:
        return "max_tokens" if charge.cut_at_limit else "end_turn"

    def _usage(self, charge: Charge, output_tokens: int) -> Json:
        # Unlike OpenAI's, this input excludes what was read from or written to the cache.
        return {
            "input_tokens": charge.input_tokens - charge.cache_read_tokens - charge.cache_write_tokens,
            "cache_creation_input_tokens": charge.cache_write_tokens,
            "cache_read_input_tokens": charge.cache_read_tokens,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


DIALECTS: dict[str, Dialect] = {
    "/v1/chat/completions": OpenAIChat(),
    "/v1/responses": OpenAIResponses(),
    "/v1/messages": AnthropicMessages(),
}
