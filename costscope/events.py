"""One stream of typed records that callbacks, logs, webhooks and telemetry all consume."""

from costscope.observe.events.callbacks import Callback, Callbacks
from costscope.observe.events.event_stream import EventStream, level_of
from costscope.observe.events.log_lines import line_of
from costscope.observe.events.publisher import Publisher
from costscope.observe.events.records import (
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
