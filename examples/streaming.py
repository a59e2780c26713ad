"""Streams: read to the end, left early, and made by an SDK that returns a stream object.

A stream's call is reserved when it is first read and settled once: at its end with its usage, when it is left
early with the whole hold, because the provider goes on working on a request whose reader has gone.
"""

from collections.abc import Iterator

import costscope
from costscope import budget_scope, metered_model

costscope.configure(store="memory://")

_WORDS = ("Spend", " less", " than", " you", " hold", ".")


def _chunks() -> Iterator[dict[str, object]]:
    """What `client.chat.completions.create(stream=True, stream_options={"include_usage": True})` yields."""
    for word in _WORDS:
        yield {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}], "usage": None}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
    yield {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": len(_WORDS)}}


@metered_model("gpt-4o-mini")
def stream(prompt: str, *, max_tokens: int = 300) -> Iterator[dict[str, object]]:  # noqa: ARG001 - a real one sends them
    """A generator function; a function that returns an SDK's stream object is metered in the same way."""
    yield from _chunks()


with budget_scope(tenant="acme", max_cost="1.00") as scope:
    events = stream("Advise me.")
    print("not read yet, held:", scope.held)
    for event in events:
        assert event
    print("read to the end, spent:", scope.spent)

    events = stream("Advise me.")
    next(events)
    print("being read, held:", scope.held)
    events.close()  # type: ignore[attr-defined]  # a generator behind the Iterator
    print("left early, spent:", scope.spent, "held:", scope.held)
