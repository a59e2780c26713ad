"""What can be asked of a board, what it answers, and how much it remembers: the same in every store.

The books say how much is spent; the board remembers that something happened: which threshold has fired, what a run
did last, what is to be delivered. Nothing here admits or refuses a call. Every operation is atomic by itself, a batch
of them is not; each may be repeated when its answer was lost (`RecordCall` and `Pace` then count once too often,
which makes a detector early and a pace slow, never the other way round).

Times are in ms and at most 100 years, which stands for ever; less than 0 is 0. Five operations had shorter names at
first: these are still their tags, for what others have written down stays readable.
"""

from __future__ import annotations

from typing import Final

import msgspec

from costscope.ledger.times import MINUTE_MS

PAUSE_MAX_MS: Final = MINUTE_MS
"""A longer pause between two calls of a run counts as one of this length."""

DIGESTS_MAX: Final = 32
"""Of a run's calls that have a digest, the last ones among which repetitions are counted."""

IDS_MAX: Final = 1000
"""Published ids that are remembered."""

EVENTS_MIN: Final = 1000
"""Records the event log keeps at least; it keeps twice as many at most."""

READ_MAX: Final = 2000
"""Records one `ReadEvents` brings at most."""

DELIVERIES_MAX: Final = 100_000
"""Deliveries that may wait. Beyond, the oldest are given up, for what waits must not fill the server of the books."""

LEASED_MAX: Final = 256
"""Deliveries one `LeaseDeliveries` brings at most."""


class SetOnce(msgspec.Struct, frozen=True, tag="First"):
    """Put `value` under `key` unless something is there. Answer (`str`): what is there now."""

    key: str
    value: str
    """Empty: the time by the store's clock, in ms since the epoch."""
    keep_ms: int
    """How long it is remembered; every later `SetOnce` of the key finds it until then. It does not find what
    `Publish.once` remembers."""


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Forget all keys of `SetOnce` and `Publish.once` that begin with `group + "#"`, and the run and line `group`.

    Answer (`int`): how many there were, a run's statistics and a line counted as one each.
    """

    group: str


class RecordCall(msgspec.Struct, frozen=True, tag="Note"):
    """Count one settled call of a run, for the detection of runaways. Answer: `CallCounts`."""

    run: str
    """The key of the run's account."""
    digest: str
    """Of the call's name and arguments; empty: not to be counted as a repetition."""
    failed: bool | None
    """None: it says nothing about how the run fares, so that the failures before it stand."""
    keep_ms: int
    """How long the run's statistics are remembered from this call on."""
    cost: int = 0
    """What it cost, in nano-units."""
    flag: str = ""
    """A word that all later calls of the run are answered with, such as the reason for a suspicion; no space in it."""
    counts: bool = True
    """False: no call has ended, there is only a flag to put up."""


class CallCounts(msgspec.Struct, frozen=True):
    """What a run looks like after a call: the answer to `RecordCall`."""

    failures: int
    """Calls that failed one after the other, this one included, in all processes."""
    repeats: int
    """How often this digest is among the run's last 32 calls that have one, this one included."""
    calls: int = 0
    """All that were recorded."""
    cost: int = 0
    """Of all of them, in nano-units; at most 2^53-1."""
    active_ms: int = 0
    """From the first to this one, pauses above a minute counted as a minute: a run that waited for a person has not
    become cheap by it."""
    flags: str = ""
    """The words that were put up, with spaces between them."""


class Pace(msgspec.Struct, frozen=True, tag=True):
    """Take the next place in a line that moves once every `interval_ms`.

    Answer (`int`): ms to wait before going, or -1 if that were more than `patience_ms`; then no place is taken.
    The generic cell rate algorithm without a burst: a line that stood empty lets the first one go at once.
    """

    group: str
    interval_ms: int
    patience_ms: int


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Put a record into the event log. Answer (`bool`): whether it was put there now.

    An id that the last 1,000 published had, or a `once` that was used before, publishes nothing. A store that sends
    again what was not answered finds out that it was itself that published, and says so.
    """

    id: str
    record: str
    """One JSON object; the board does not read it."""
    once: str = ""
    """`group + "#" + what`: of all publications that name this, one is the first."""
    once_ms: int = 0
    """How long `once` is remembered."""
    deliver: tuple[str, ...] = ()
    """The names of webhooks this record must be delivered to, until they are acknowledged or 7 days have passed. Of
    more than 100,000 that wait the oldest are given up: they must not fill the server that keeps the books."""


class Published(msgspec.Struct, frozen=True):
    """One record of the event log."""

    place: str
    """Grows along the log; hand it to `ReadEvents.after`."""
    record: str


class ReadEvents(msgspec.Struct, frozen=True, tag="Recent"):
    """Read the last records, oldest first. Answer: `list[Published]`.

    The log keeps at least the last 1,000, until nothing has been published for 35 days.
    """

    count: int = 100
    """The last so many, 2,000 at most; of those behind `after` if that is given."""
    after: str = ""
    """Only records behind this place; empty: from the start of what is kept."""


class LeaseDeliveries(msgspec.Struct, frozen=True, tag="Take"):
    """Take deliveries that are due; they are due again in `lease_ms` unless acknowledged until then.

    Answer: `list[Delivery]`, the longest due first. Due times are kept by the store's clock.
    """

    lease_ms: int
    count: int = 16
    """No more than these; 256 at most."""


class Delivery(msgspec.Struct, frozen=True):
    """One record on its way to one webhook."""

    id: str
    """The same at every attempt: `<record id>:<webhook>`."""
    webhook: str
    record: str
    attempt: int
    """1 for the first one taken, counted over all processes."""


class AckDeliveries(msgspec.Struct, frozen=True, tag="Ack"):
    """Say that these deliveries need no further attempt. Answer (`int`): how many were still waiting."""

    ids: tuple[str, ...]


Op = SetOnce | Forget | RecordCall | Pace | Publish | ReadEvents | LeaseDeliveries | AckDeliveries
Answer = str | int | bool | CallCounts | list[Published] | list[Delivery]
