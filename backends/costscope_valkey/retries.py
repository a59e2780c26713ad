"""When a failed request is sent again: the schedule that the sync and the async link share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import tenacity

from costscope.stores.backoff import Backoff
from costscope_valkey.failures import is_transient

if TYPE_CHECKING:
    from tenacity.retry import retry_base
    from tenacity.stop import stop_base

__all__ = ["Schedule", "schedule"]

_FIRST_PAUSE_S = 0.004
_LONGEST_PAUSE_S = 0.064


class Schedule(TypedDict):
    """The keyword arguments of `tenacity.Retrying` and `tenacity.AsyncRetrying`."""

    retry: retry_base
    stop: stop_base
    wait: Backoff
    reraise: bool


def schedule(left_s: float) -> Schedule:
    """Repeat transient failures with the SAME payload until `left_s` seconds are over.

    The payload's ids make a repeat harmless: what was applied is answered, not applied again. The first attempt
    comes at once, for the usual failure is a connection the server closed while it lay idle. Pauses are
    jittered, so that the clients of a server that returns do not arrive in one wave.
    """
    return Schedule(
        retry=tenacity.retry_if_exception(is_transient),
        stop=tenacity.stop_before_delay(left_s),
        wait=Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
        reraise=True,
    )
