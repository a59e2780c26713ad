"""The board: what several processes must agree on beside the books. Operations and their answers; no I/O."""

from costscope.board.ops import (
    Ack,
    Answer,
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
