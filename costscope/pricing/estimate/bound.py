"""An upper bound of the tokens in the text of a call, without a tokenizer.

A byte-level BPE makes no more tokens than the text has bytes in UTF-8. A tokenizer that normalises first
(Anthropic's published one uses NFKC) may make the text longer: U+FDFA, 3 bytes, becomes 33. So the bound of
a text is the larger of its bytes and the bytes of its NFKC form; for ASCII both are its length.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import ModelUnpriced
from costscope.pricing.estimate.parts import Opaque, unfold

if TYPE_CHECKING:
    from costscope.pricing.prices.option import Price

CALL_SLACK: Final = 1024
"""Tokens a provider may add to any call: its own preamble, the frame of tools and of a response format."""
MAPPING_SLACK: Final = 16
"""Tokens for the frame of a message or another mapping: role markers, separators, braces."""
ITEM_SLACK: Final = 4
"""Tokens for the punctuation around one item or key."""

_DEPTH_MAX: Final = 64
_NODES_MAX: Final = 1_000_000
_CONSTANT_TOKENS: Final = 8
"""`true`, `false`, `null`, and what a chat template makes of them."""
_FLOAT_TOKENS: Final = 32

_MEDIA_TYPES: Final = frozenset(
    {
        "image_url",
        "input_image",
        "image",
        "input_audio",
        "audio",
        "video",
        "video_url",
        "input_video",
        "file",
        "input_file",
        "document",
        "media",
        "container_upload",
        "item_reference",
        "computer_screenshot",
    }
)
_GEMINI_PARTS: Final = ("inline_data", "inlineData", "file_data", "fileData")

_MEDIA_KEYS: Final = frozenset({"type", *_GEMINI_PARTS})
"""A mapping without any of these is no media."""


class Bound(msgspec.Struct, frozen=True, gc=False):
    """What text bounds, and what it does not."""

    tokens: int
    """At most so many tokens come from the text that was found."""
    media: tuple[str, ...] = ()
    """Parts whose tokens do not follow from their bytes, such as images: only the context window bounds them."""
    audio: bool = False
    """Some of these parts may be audio, which has prices of its own."""


def text_bound(value: object, *, tools: bool = False) -> Bound:
    """Bound the tokens in all text inside `value` from above.

    Args:
        value: text, or dicts, lists and message objects with text at their leaves. Clients, functions and
            other machinery count nothing.
        tools: `value` describes tools: their JSON schemas are text, even if they speak of images.

    Returns:
        The bound, without `CALL_SLACK`, and what no count of bytes can bound.
    """
    if type(value) is str:
        return Bound(_text_tokens(value))
    walk = _Walk(look_for_media=not tools)
    tokens = walk.measure(value, 0)
    return Bound(tokens, tuple(dict.fromkeys(walk.media)), audio=bool(walk.media))


def input_bound(bound: Bound, price: Price, *, model: str) -> int:
    """Return the input tokens to reserve for a call: the text's bound, or the whole window for what is not text.

    Raises:
        ModelUnpriced: the call has parts that text does not bound, and no reliable context window is known.
    """
    tokens = bound.tokens + CALL_SLACK
    if not bound.media:
        return tokens
    window = price.trusted_window
    if window is None:
        msg = (
            f"{model}: the tokens of {', '.join(bound.media[:5])} do not follow from their bytes, and no reliable "
            f"context window of the model is known; give estimate= (the most the call can cost), or set "
            f"context_window for the model under `prices:`"
        )
        raise ModelUnpriced(msg)
    return max(tokens, window)


class _Walk:
    """One pass over an argument: sums the text and notes what is not text."""

    __slots__ = ("_look_for_media", "_nodes", "_path", "media")

    def __init__(self, *, look_for_media: bool) -> None:
        self.media: list[str] = []
        self._look_for_media = look_for_media
        self._nodes = 0
        self._path: set[int] = set()

    def measure(self, value: object, depth: int) -> int:
        """Bound the tokens of `value`, which is `depth` levels down."""
        kind = type(value)
        if kind is str:
            return len(value) if value.isascii() else _text_tokens(value)  # type: ignore[attr-defined,arg-type]  # str
        if kind is dict or kind is list or kind is tuple:
            return self._measure_container(value, depth, id(value))  # type: ignore[arg-type]  # one of the three
        if value is None or isinstance(value, int | float):
            return _scalar_tokens(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._measure_bytes(bytes(value))
        return self._measure_object(value, depth)

    def _measure_container(
        self, value: Mapping[object, object] | Iterable[object], depth: int, key: int
    ) -> int:
        if key in self._path or depth >= _DEPTH_MAX or self._nodes > _NODES_MAX:
            reason = (
                "a structure that contains itself"
                if key in self._path
                else "a structure that is too deep or large"
            )
            self.media.append(reason)
            return 0
        self._path.add(key)
        try:
            if isinstance(value, Mapping):
                return self._measure_mapping(value, depth + 1)
            return self._measure_items(value, depth + 1)
        finally:
            self._path.discard(key)

    def _measure_mapping(self, value: Mapping[object, object], depth: int) -> int:
        # an ordinary message has none of these keys: nothing to look at
        if self._look_for_media and not _MEDIA_KEYS.isdisjoint(value):
            part = media_part(value)
            if part is not None:
                self.media.append(part)
        self._nodes += len(value)
        measure = self.measure
        total = MAPPING_SLACK + ITEM_SLACK * len(value)
        for name, inner in value.items():
            total += len(name) if type(name) is str and name.isascii() else measure(name, depth)
            total += measure(inner, depth)
        return total

    def _measure_items(self, value: Iterable[object], depth: int) -> int:
        total = number = 0
        for inner in value:
            number += 1
            total += self.measure(inner, depth)
        self._nodes += number
        return total + ITEM_SLACK * number

    def _measure_bytes(self, value: bytes) -> int:
        try:
            return _text_tokens(value.decode())
        except UnicodeDecodeError:
            self.media.append("binary data")
            return len(value)

    def _measure_object(self, value: object, depth: int) -> int:
        inner = unfold(value)
        if isinstance(inner, Opaque):
            if inner.reason:
                self.media.append(inner.reason)
            return inner.tokens
        if isinstance(inner, str):
            return _text_tokens(inner)
        # the path must hold the object itself: what unfold made of it is new each time
        return self._measure_container(inner, depth, id(value))


def media_part(part: Mapping[object, object]) -> str | None:
    """Return what `part` of a message is, if it is no text; None for text and everything else."""
    kind = part.get("type")
    if kind is None:
        return next((name for name in _GEMINI_PARTS if part.get(name) is not None), None)
    if not isinstance(kind, str) or kind not in _MEDIA_TYPES:
        return None
    if kind == "document":
        source = part.get("source")
        form = source.get("type") if isinstance(source, Mapping) else getattr(source, "type", None)
        if form in {"text", "content"}:
            return None
    return kind


def _scalar_tokens(value: float | None) -> int:
    if isinstance(value, bool) or value is None:
        return _CONSTANT_TOKENS
    # decimal digits and a sign, without making the text
    return value.bit_length() // 3 + 2 if isinstance(value, int) else _FLOAT_TOKENS


def _text_tokens(value: str) -> int:
    if value.isascii():
        return len(value)
    plain = len(value.encode("utf-8", "surrogatepass"))
    return max(plain, len(unicodedata.normalize("NFKC", value).encode("utf-8", "surrogatepass")))
