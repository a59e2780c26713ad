"""Sending to a store that may be away, by a worker that has the time to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from costscope.errors import StoreUnavailable
from costscope.stores.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.background.worker import Worker

T = TypeVar("T")


def send_until_taken(worker: Worker, send: Callable[[T], object], batch: T) -> bool:
    """Send a batch, again and again while the store is away; False if the worker was stopped meanwhile.

    Raises:
        CostscopeError: the store refuses it for good.
    """
    # Imported when there is something to send: most processes never have.
    from tenacity import Retrying, retry_if_exception_type  # noqa: PLC0415

    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=Backoff(0.05, 2.0),
        stop=lambda _: worker.stopping,
        sleep=worker.pause,
        reraise=True,
    )
    try:
        retrying(send, batch)
    except StoreUnavailable:
        return False
    return True
