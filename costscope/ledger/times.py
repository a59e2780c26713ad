"""Spans of time that are more than one module's: the units, and how long things are kept, each with its reason."""

from __future__ import annotations

from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
YEAR_MS: Final = 365 * DAY_MS

UNITS_MS: Final = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
"""The units in which durations are written and shown, the largest first."""

LEASE_MAX_MS: Final = DAY_MS
"""The longest lease one command may ask for; a longer call extends its hold."""

LATE_MS: Final = 2 * DAY_MS
"""How long after its lease a commit may still come in: a worker that was suspended, an outbox that waited."""

PRESUMED_KEEP_MS: Final = LATE_MS
"""How long a presumed hold waits for its late commit before the presumption stands for good."""

ENDED_MS: Final = LATE_MS
"""How long the end of a run is remembered, so that a process that slept meanwhile does not tell it again."""

KEEP_AFTER_MS: Final = LEASE_MAX_MS + LATE_MS
"""How long an account outlives its window. A hold of the last second may live its whole lease and be settled
late; an account deleted before that would come back with nothing but this commit in it, and for ever."""

KEY_KEEP_MS: Final = DAY_MS
"""How long an idempotency key is remembered: a task queue redelivers within a day."""

RUN_STATS_KEEP_MS: Final = DAY_MS
"""How long the board counts for a run that is silent: one that is out of control goes on."""

KEEP_SHARED_MS: Final = 35 * DAY_MS
"""How long a run's inline account outlives its last reserve: a run that is resumed after a month finds it."""

RUNAWAY_KEEP_MS: Final = KEEP_SHARED_MS
"""How long it is remembered that a run was found out of control: as long as its account is kept."""

EVENTS_KEEP_MS: Final = KEEP_SHARED_MS
"""How long the event log is kept after the last publication: as long as a run that has published."""

ONCE_KEEP_MS: Final = 400 * DAY_MS
"""How long it is remembered of an account without a window that a threshold has fired, and when it was first used:
longer than a year of silence."""

DELIVERY_KEEP_MS: Final = 7 * DAY_MS
"""How long a record waits for a webhook that does not take it: over a week-end, and some days to mend it."""

KEEP_MAX_MS: Final = 100 * YEAR_MS
"""100 years, which stands for ever: a longer time to remember, wait or lease is cut to this."""

MAX_DURATION_MS: Final = 10_000 * DAY_MS
"""27 years; a longer duration in a policy is a mistake, such as milliseconds taken for seconds."""
