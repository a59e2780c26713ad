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

# The names that these had first; they go on working.
First = SetOnce
Note = RecordCall
Noted = CallCounts
Recent = ReadEvents
Take = LeaseDeliveries
Ack = AckDeliveries

__all__ = [
    "Ack",
    "AckDeliveries",
    "Answer",
    "Board",
    "CallCounts",
    "Delivery",
    "First",
    "Forget",
    "LeaseDeliveries",
    "Note",
    "Noted",
    "Op",
    "Pace",
    "Publish",
    "Published",
    "ReadEvents",
    "Recent",
    "RecordCall",
    "SetOnce",
    "Take",
]
