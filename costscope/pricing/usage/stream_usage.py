"""Usage of a streamed answer, gathered while its chunks pass by."""

from __future__ import annotations

from typing import Final

from costscope.pricing.usage.shapes import USAGE_FIELDS, parse_usage, read_usage
from costscope.pricing.usage.usage_fields import Fields, Usage, fields_of, with_source

_TEXT: Final = (str, bytes)
_ENDINGS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_MERGED: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "output_tokens_details",
    "server_tool_use",
    "service_tier",
    "speed",
    "iterations",
)


class StreamUsage:
    """The usage of a stream: feed it every chunk or event, ask it for the usage when the stream is over.

    `feed` never raises and keeps only the latest report: a bad report is refused by `usage()`, after the
    stream has reached its reader. What `usage()` says before `complete` is what the provider had reported
    so far, which is less than it bills.
    """

    __slots__ = ("_begun", "_delta", "_finished", "_last", "_seen", "_usage", "complete")

    def __init__(self) -> None:
        self.complete: bool = False
        """The provider's own last word was seen: `finish_reason`, `response.completed`, `message_stop`."""
        self._usage: Usage | None = None
        self._last: object = None
        self._begun: object = None
        self._delta: dict[str, object] = {}
        self._seen: set[object] = set()
        self._finished: set[object] = set()

    def feed(self, item: object) -> None:
        """Look at one chunk or event: of OpenAI, Anthropic, LiteLLM, Gemini, or text (which says nothing)."""
        if isinstance(item, _TEXT) or item is None:
            return
        if isinstance(item, Usage):
            self._usage = item
            return
        fields = fields_of(item)
        choices = fields("choices")
        if choices is not None:
            self._note_chunk(item, fields, choices)
            return
        kind = fields("type")
        if isinstance(kind, str):
            self._note_event(kind, item, fields)
            return
        if any(fields(name) is not None for name in USAGE_FIELDS):
            self._last = item
        candidates = fields("candidates")
        if candidates is not None:
            self._note_candidates(candidates)

    def usage(self) -> Usage | None:
        """Return the usage reported so far; None when there was none.

        Raises:
            InvalidUsage: the stream reported usage that cannot be believed.
        """
        if self._usage is not None:
            return self._usage
        if self._begun is not None:
            merged = self._merge_reports().get
            parsed = parse_usage(merged)
            return None if parsed is None else with_source(parsed, merged, fields_of(self._begun))
        return None if self._last is None else read_usage(self._last)

    def _note_event(self, kind: str, item: object, fields: Fields) -> None:
        if kind == "message_start":
            self._begun = fields("message")
        elif kind == "message_delta":
            self._remember_delta(fields("usage"))
        elif kind == "message_stop":
            self.complete = True
        elif kind in _ENDINGS:
            self._last = fields("response")
            self.complete = True
        elif any(fields(name) is not None for name in USAGE_FIELDS):
            self._last = item  # an event of a framework that wraps the provider's

    def _note_chunk(self, item: object, fields: Fields, choices: object) -> None:
        """Note a chat completion chunk: finished once every choice that began has a `finish_reason`."""
        if fields("usage") is not None:
            self._last = item
        if not isinstance(choices, list | tuple):
            return
        if not choices:
            self.complete = self.complete or self._last is item  # the usage chunk comes last and has none
            return
        for choice in map(fields_of, choices):
            self._note_choice(choice("index"), choice("finish_reason"))

    def _note_candidates(self, candidates: object) -> None:
        for candidate in map(fields_of, candidates if isinstance(candidates, list | tuple) else ()):
            reason = candidate("finish_reason") or candidate("finishReason")
            self._note_choice(candidate("index"), reason)

    def _note_choice(self, index: object, reason: object) -> None:
        key = index if isinstance(index, int) else 0
        self._seen.add(key)
        if reason is not None:
            self._finished.add(key)
            self.complete = self._finished == self._seen

    def _remember_delta(self, usage: object) -> None:
        fields = fields_of(usage)
        for name in _MERGED:
            value = fields(name)
            if value is not None:
                self._delta[name] = value

    def _merge_reports(self) -> dict[str, object]:
        """Merge Anthropic's reports: the start has the input, each delta the running totals; the later word counts."""
        start = fields_of(fields_of(self._begun)("usage"))
        merged: dict[str, object] = {name: start(name) for name in _MERGED}
        merged.update(self._delta)
        return merged
