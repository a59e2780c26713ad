"""One stream of typed records that callbacks, logs, webhooks and telemetry all consume."""

from costscope.events.callbacks import Callback, Callbacks
from costscope.events.lines import level_of, line_of
from costscope.events.publisher import Publisher
from costscope.events.records import (
    KINDS,
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    Event,
    Kind,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    RunStarted,
    RunStatus,
    ThresholdCrossed,
    decode_event,
    encode_event,
    kind_of,
)
from costscope.events.stream import EventStream

__all__ = [
    "KINDS",
    "AccountReset",
    "CallDegraded",
    "CallRefused",
    "CallSettled",
    "Callback",
    "Callbacks",
    "Downgraded",
    "Event",
    "EventStream",
    "Kind",
    "PolicyReloaded",
    "Publisher",
    "RunEnded",
    "RunStarted",
    "RunStatus",
    "RunawayDetected",
    "ThresholdCrossed",
    "decode_event",
    "encode_event",
    "kind_of",
    "level_of",
    "line_of",
]
