"""The board: what several processes must agree on beside the books. No lock, no clock, no I/O."""

from costscope.stores.coordination import (
    Ack,
    Answer,
    Board,
    Delivery,
    First,
    Forget,
    Note,
    Noted,
    Op,
    Pace,
    Publish,
    Published,
    Recent,
    Take,
)

__all__ = [
    "Ack",
    "Answer",
    "Board",
    "Delivery",
    "First",
    "Forget",
    "Note",
    "Noted",
    "Op",
    "Pace",
    "Publish",
    "Published",
    "Recent",
    "Take",
]
