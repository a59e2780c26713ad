"""When a delivery is tried, and what an answer means for it. Pure.

The board brings a delivery back each time its lease is over, to whichever process asks first, and counts how often.
It is tried the first, second, fourth, eighth ... time, and the lease varies: that is an exponential backoff with
jitter which needs nobody's memory, so that it goes on when processes come and go. A retry loop (tenacity's, as
elsewhere) would end with its process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FIRST_PAUSE_S", "LEASE_MARGIN_S", "Verdict", "lease_ms", "pause_s", "verdict", "worth_trying"]

Verdict = Literal["delivered", "away", "again", "never"]
"""`away`: the receiver does not answer, or says that it cannot; `again`: it does, but not to this record."""

_ROUNDS_MAX: Final = 64
"""The most leases between two tries: with a lease of 15 s, 16 minutes."""

LEASE_MARGIN_S: Final = 5.0
FIRST_PAUSE_S: Final = 2.0
_PAUSE_MAX_S: Final = 600.0
_RETRY_AFTER_MAX_S: Final = 3_600.0
_ANOTHER_TIME: Final = frozenset({408, 425, 429})
"""What a receiver says that wants the request later."""
_GONE: Final = 410


def worth_trying(attempt: int) -> bool:
    """Whether a delivery that is taken for the `attempt`-th time (1 is the first) is to be sent now."""
    if attempt >= _ROUNDS_MAX:
        return attempt % _ROUNDS_MAX == 0
    return attempt & (attempt - 1) == 0


def lease_ms(longest_timeout_s: float, random: Callable[[], float], margin_s: float = LEASE_MARGIN_S) -> int:
    """How long a process has for what it takes: two requests that run out of time, and a margin; 20% more or less.

    Args:
        longest_timeout_s: of any webhook.
        random: gives numbers from 0 to 1.
        margin_s: the margin.
    """
    return round((margin_s + 2 * longest_timeout_s) * (0.8 + 0.4 * random()) * 1000)


def pause_s(
    failures: int,
    random: Callable[[], float],
    retry_after_s: float | None = None,
    first_s: float = FIRST_PAUSE_S,
) -> float:
    """How long a receiver is left alone after so many failures one after the other (at least 1).

    Args:
        failures: how many.
        random: gives numbers from 0 to 1.
        retry_after_s: what the receiver asked for; at most an hour is granted.
        first_s: the longest after the first failure; it doubles with each.
    """
    longest = min(first_s * 2.0 ** min(failures - 1, 30), _PAUSE_MAX_S)
    asked = min(retry_after_s, _RETRY_AFTER_MAX_S) if retry_after_s is not None else 0.0
    return max(asked, longest * (0.5 + 0.5 * random()))


def verdict(status: int | None) -> Verdict:
    """What becomes of a delivery.

    Only 410 ends it: a path that is not there yet, or a secret that is about to be changed, must not lose records.

    Args:
        status: of the answer; None if there was none.
    """
    if status is None or status >= 500 or status in _ANOTHER_TIME:  # noqa: PLR2004 - the classes of HTTP's status
        return "away"
    if 200 <= status < 300:  # noqa: PLR2004
        return "delivered"
    return "never" if status == _GONE else "again"
