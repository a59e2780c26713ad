"""The board: what several processes must agree on beside the books. No lock, no clock, no I/O."""

from costscope.stores.coordination.board_state import Board
from costscope.stores.coordination.operations import (
    AckDeliveries,
    Answer,
    CallCounts,
    Delivery,
    Forget,
    LeaseDeliveries,
    Op,
    Pace,
    Publish,
    Published,
    ReadEvents,
    RecordCall,
    SetOnce,
)

__all__ = [
    "AckDeliveries",
    "Answer",
    "Board",
    "CallCounts",
    "Delivery",
    "Forget",
    "LeaseDeliveries",
    "Op",
    "Pace",
    "Publish",
    "Published",
    "ReadEvents",
    "RecordCall",
    "SetOnce",
]
