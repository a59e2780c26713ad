"""Delivering records from the board to the webhooks of a policy."""

from __future__ import annotations

import logging
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Final

from costscope.board import Ack, Delivery, Take
from costscope.errors import StoreUnavailable
from costscope.events.lifetime import CLOSING_S, ends_with_process
from costscope.events.worker import Worker
from costscope.webhooks.post import must_be_installed, open_client, post
from costscope.webhooks.receivers import receivers
from costscope.webhooks.schedule import lease_ms, verdict, worth_trying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from costscope.policy.controls import Webhook
    from costscope.stores.base import Store
    from costscope.webhooks.receivers import Receiver

__all__ = ["WebhookSender"]

_BATCH: Final = 16
_LOOK_S: Final = 5.0
"""How often the board is asked for what other processes have left, 20% more or less."""

log = logging.getLogger("costscope.webhooks")


class WebhookSender:
    """Takes what is due from the board and sends it, one request after the other, in a thread of its own.

    Any number of processes may do that for one ledger: what one has taken, another gets when the lease is over. So
    each record arrives at least once, or is given up by the board after seven days.

    Args:
        store: whose board it is.
        webhooks: by name, as in `Policy.webhooks`.
        environ: where the secrets are.

    Raises:
        InvalidPolicy: a webhook cannot be used, its secret is not in the environment, or `costscope[webhooks]` is
            not installed.
    """

    def __init__(
        self, store: Store, webhooks: Mapping[str, Webhook], *, environ: Mapping[str, str] = os.environ
    ) -> None:
        if webhooks:
            must_be_installed()
        self._store = store
        self._receivers = receivers(webhooks, environ)
        self._longest_s = max((one.timeout_s for one in self._receivers.values()), default=0.0)
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        # It looks for ever, so that the thread must not keep alive a runtime that everybody else has forgotten.
        self._worker = Worker(_weakly(weakref.ref(self)), "costscope-webhooks")
        self._woken = False
        weakref.finalize(self, self._worker.close, 0.0).atexit = False
        ends_with_process(self, "webhooks")

    def wake(self) -> None:
        """Look at the board now, and every few seconds from now on. Does not wait."""
        if self._receivers:
            self._woken = True
            self._worker.wake()

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Send what is due, for at most this long, and end the thread. What is left is on the board."""
        deadline = time.monotonic() + timeout_s
        if self._woken and not self._worker.closing.is_set():
            self._worker.drain(timeout_s)
        self._worker.close(max(0.0, deadline - time.monotonic()))

    def restart_in_child(self) -> None:
        """Look at nothing until the child has something to be delivered: its parent still does."""
        self._woken = False
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
        return _LOOK_S * (0.8 + 0.4 * self._random.random())

    def _round(self) -> bool:
        """Take some and send them; whether there may be more."""
        lease = lease_ms(self._longest_s, self._random.random)
        ends_s = time.monotonic() + lease / 1000
        [taken] = self._store.tell((Take(lease_ms=lease, count=_BATCH),))
        deliveries = [one for one in taken if isinstance(one, Delivery)] if isinstance(taken, list) else []
        tried = [one for one in deliveries if worth_trying(one.attempt) and one.webhook in self._receivers]
        if tried:
            with open_client() as client:
                for delivery in tried:
                    receiver = self._receivers[delivery.webhook]
                    if (
                        time.monotonic() + receiver.timeout_s < ends_s
                    ):  # else it comes again with the next lease
                        self._send(client, receiver, delivery)
        return len(deliveries) == _BATCH

    def _send(self, client: httpx2.Client, receiver: Receiver, delivery: Delivery) -> None:
        if receiver.is_left_alone(time.monotonic()):
            return
        answer = post(client, receiver, delivery)
        now = verdict(answer.status)
        what = f"{delivery.id} to webhook {receiver.name} at {receiver.place}"
        if now == "again":
            receiver.failed(time.monotonic(), self._random.random, answer.retry_after_s)
            log.warning("%s: %s, taken %d times; tried again later", what, answer.problem, delivery.attempt)
            return
        receiver.answered()
        if now == "delivered":
            log.debug("%s: %s", what, answer.problem)
        else:
            log.error("%s: %s; given up, the receiver does not want it", what, answer.problem)
        self._store.tell((Ack(ids=(delivery.id,)),))


def _weakly(sender: weakref.ref[WebhookSender]) -> Callable[[], float | None]:
    def look() -> float | None:
        found = sender()
        return found.look() if found is not None else None

    return look
