"""One signed request. The only module that imports the HTTP client, and only when there is something to send."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from costscope.errors import InvalidPolicy
from costscope.observe.webhooks.signature import sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from costscope.observe.webhooks.receivers import Receiver
    from costscope.stores.coordination.operations import Delivery

_posting: ContextVar[bool] = ContextVar("costscope_posting", default=False)


class Answered(msgspec.Struct, frozen=True):
    """What became of a request."""

    status: int | None
    """Of HTTP; None: there was no answer."""
    problem: str
    """For the log; never a URL, a header or a body."""
    retry_after_s: float | None = None


def must_be_installed() -> None:
    """Refuse to promise deliveries that nothing here can make.

    Raises:
        InvalidPolicy: the HTTP client is missing.
    """
    if find_spec("httpx2") is None:
        problem = (
            "webhooks are sent by httpx2, which is not installed; run: pip install 'costscope[webhooks]'"
        )
        raise InvalidPolicy(problem, path="$.webhooks")


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client that follows no redirects and whose log lines, which hold whole URLs, are left out."""
    import httpx2  # noqa: PLC0415 - 70 ms, for those who have webhooks

    logging.getLogger("httpx2").addFilter(_is_not_ours)
    async with httpx2.AsyncClient(follow_redirects=False, headers={"user-agent": "costscope"}) as client:
        yield client


async def post(client: httpx2.AsyncClient, receiver: Receiver, delivery: Delivery) -> Answered:
    """Send one record. The answer's body is not read."""
    import httpx2  # noqa: PLC0415 - as above

    body = delivery.record.encode()
    webhook_id, now_s = header_id(delivery.id), int(time.time())
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign(receiver.secret, webhook_id, now_s, body),
    }
    before = _posting.get()
    _posting.set(True)
    try:
        # The client's own time-outs are for each step: who sends one byte after the other would never meet them.
        async with (
            asyncio.timeout(receiver.timeout_s),
            client.stream("POST", receiver.url, content=body, headers=headers, timeout=None) as response,
        ):
            status = response.status_code
            retry_after = response.headers.get("retry-after", "")
    except TimeoutError:
        return Answered(None, f"no answer within {receiver.timeout_s:g} s")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return Answered(None, type(error).__name__)
    finally:
        _posting.set(before)
    return Answered(status, f"status {status}", _read_retry_after(retry_after))


def header_id(delivery_id: str) -> str:
    """Return the `webhook-id` of a delivery: its id where that is ASCII without a full stop, else percent-encoded."""
    return quote(delivery_id, safe=":").replace(".", "%2E")


def _read_retry_after(retry_after: str) -> float | None:
    """Read `Retry-After`, a number of seconds or a date, as seconds from now."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:_DIGITS])
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


_DIGITS: Final = 9


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not _posting.get()
