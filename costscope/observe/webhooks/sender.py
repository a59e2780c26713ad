"""Delivering records from the board to the webhooks of a policy."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import weakref
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, Worker, register
from costscope.errors import StoreUnavailable
from costscope.observe.webhooks.post import must_be_installed, open_client, post
from costscope.observe.webhooks.receivers import (
    FIRST_PAUSE_S,
    LEASE_MARGIN_S,
    is_due_attempt,
    lease_ms,
    receivers,
    verdict,
)
from costscope.stores.coordination.operations import AckDeliveries, Delivery, LeaseDeliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx2

    from costscope.observe.webhooks.receivers import Receiver
    from costscope.policy.model.controls import Webhook
    from costscope.stores.base import Store

_BATCH: Final = 16
_LOOK_S: Final = 5.0
"""How often the board is asked for what other processes have left, 20% more or less."""

_ENDING_S: Final = 1.0
"""How long a request that was cancelled may take to end."""

_inherited: Final[list[object]] = []
"""Loops of a parent process: closing one in a child, as collecting it does, would deafen the parent's."""

log = logging.getLogger("costscope.webhooks")


class WebhookSender:
    """Takes what is due from the board and sends it in a thread of its own: to each webhook one after the other.

    Any number of processes may do that for one ledger: what one has taken, another gets when the lease is over. So
    each record arrives at least once, or is given up by the board after seven days.

    Args:
        store: whose board it is.
        webhooks: by name, as in `Policy.webhooks`.
        environ: where the secrets are.
        look_s: how often the board is asked, in seconds.
        margin_s: how much longer than two time-outs a lease is, in seconds.
        first_pause_s: how long a receiver is left alone when it is away, at first and at most, in seconds.

    Raises:
        InvalidPolicy: a webhook cannot be used, its secret is not in the environment, or `costscope[webhooks]` is
            not installed.
    """

    def __init__(
        self,
        store: Store,
        webhooks: Mapping[str, Webhook],
        *,
        environ: Mapping[str, str] = os.environ,
        look_s: float = _LOOK_S,
        margin_s: float = LEASE_MARGIN_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        if webhooks:
            must_be_installed()
        self._store = store
        self._receivers = receivers(webhooks, environ)
        self._longest_s = max((one.timeout_s for one in self._receivers.values()), default=0.0)
        self._look_s = look_s
        self._margin_s = margin_s
        self._first_pause_s = first_pause_s
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        # It looks for ever, so that the thread must not keep alive a runtime that is used nowhere else.
        self._worker = Worker(_look_while_alive(weakref.ref(self)), "costscope-webhooks")
        self.wake: Final = self._worker.wake if webhooks else _do_nothing
        """Look at the board now, and every few seconds from now on. Does not wait."""
        self._interrupt: Callable[[], object] = _do_nothing
        weakref.finalize(self, self._worker.stop).atexit = False
        register(self, "webhooks")

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Send what is due, for at most this long, and end the thread. What is left is on the board."""
        deadline = time.monotonic() + timeout_s
        if not self._worker.idle:
            self._worker.drain(timeout_s)
        self._worker.closing.set()
        with suppress(RuntimeError):  # it has just ended
            self._interrupt()
        self._worker.stop(max(_ENDING_S, deadline - time.monotonic()))

    def restart_in_child(self) -> None:
        """Look at nothing until the child has something to be delivered: its parent still does."""
        _inherited.append(self._interrupt)
        self._interrupt = _do_nothing
        self._random.seed()  # or parent and child would pause alike
        self._worker.restart_in_child()

    def look(self) -> float:
        """Send everything that is due.

        Returns:
            Seconds until it is time to look again.
        """
        try:
            while not self._worker.closing.is_set() and self._round():
                pass
        except StoreUnavailable:
            log.debug("the board of %s cannot be reached", self._store.url)
        except asyncio.CancelledError:
            log.debug("closed in the middle of a request")
        return self._look_s * (0.8 + 0.4 * self._random.random())

    def _round(self) -> bool:
        """Take some and send them; whether there may be more."""
        lease = lease_ms(self._longest_s, self._random.random, self._margin_s)
        ends_s = time.monotonic() + lease / 1000
        [taken] = self._store.tell((LeaseDeliveries(lease_ms=lease, count=_BATCH),))
        deliveries = [one for one in taken if isinstance(one, Delivery)] if isinstance(taken, list) else []
        tried = [one for one in deliveries if is_due_attempt(one.attempt) and one.webhook in self._receivers]
        if tried:
            try:
                asyncio.run(self._send_all(tried, ends_s))
            finally:
                self._interrupt = _do_nothing
        return len(deliveries) == _BATCH

    async def _send_all(self, deliveries: list[Delivery], ends_s: float) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "this is a coroutine"
        self._interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._worker.closing.is_set():
            return
        by_webhook = groupby(sorted(deliveries, key=attrgetter("webhook")), attrgetter("webhook"))
        async with open_client() as client, asyncio.TaskGroup() as group:
            for name, some in by_webhook:
                group.create_task(self._send_some(client, self._receivers[name], list(some), ends_s))

    async def _send_some(
        self, client: httpx2.AsyncClient, receiver: Receiver, deliveries: Iterable[Delivery], ends_s: float
    ) -> None:
        """Send to one receiver as long as the lease lasts; what is left comes again with the next one."""
        for delivery in deliveries:
            now_s = time.monotonic()
            if now_s + receiver.timeout_s >= ends_s or receiver.is_left_alone(now_s):
                return
            await self._send(client, receiver, delivery)

    async def _send(self, client: httpx2.AsyncClient, receiver: Receiver, delivery: Delivery) -> None:
        answer = await post(client, receiver, delivery)
        now = verdict(answer.status)
        what = f"{delivery.id} to webhook {receiver.name} at {receiver.place}"
        if now == "away":
            receiver.record_failure(
                time.monotonic(), self._random.random, answer.retry_after_s, self._first_pause_s
            )
        else:
            receiver.record_answer()
        if now in {"away", "again"}:
            log.warning("%s: %s, taken %d times; tried again later", what, answer.problem, delivery.attempt)
            return
        if now == "delivered":
            log.debug("%s: %s", what, answer.problem)
        else:
            log.error("%s: %s; given up, the receiver does not want it", what, answer.problem)
        try:
            self._store.tell((AckDeliveries(ids=(delivery.id,)),))
        except StoreUnavailable:
            log.warning("%s: the board cannot be told, so it will arrive again", what)


def _do_nothing() -> None:
    """Do nothing: there is no receiver, or no request to interrupt."""


def _look_while_alive(sender: weakref.ref[WebhookSender]) -> Callable[[], float | None]:
    def look() -> float | None:
        found = sender()
        return found.look() if found is not None else None

    return look
