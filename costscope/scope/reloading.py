"""New versions of a policy's files, put in force in a runtime that goes on. Each is told of, taken or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.errors import InvalidPolicy
from costscope.ledger import new_id
from costscope.observe.events import PolicyReloaded
from costscope.policy import Policy
from costscope.policy.load.reload import PolicyReloader
from costscope.policy.load.watcher import PolicyWatcher

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from opentelemetry.trace import TracerProvider

    from costscope.observe.telemetry.spans import Spans
    from costscope.observe.webhooks import WebhookSender
    from costscope.policy import PolicySource
    from costscope.scope.runtime import Runtime
    from costscope.stores import Store


class Reloading:
    """Looks at the files of one runtime's policy; while they are wrong the version before stays.

    Raises (when it is made):
        InvalidPolicy: the first version is wrong.
    """

    def __init__(self, runtime: Runtime, source: str | Path) -> None:
        self._runtime = runtime
        self._watcher = PolicyWatcher(source)
        self._reloader = PolicyReloader(self._watcher, on_change=self._adopt, on_problem=self._keep_old)

    @property
    def policy(self) -> Policy:
        """As the files have it now."""
        return self._watcher.policy

    def start(self) -> None:
        """Look at them from now on, if they can change."""
        if self._watcher.can_change:
            self._reloader.start()

    def stop(self) -> None:
        """Look at them no more."""
        self._reloader.close()

    def _adopt(self, policy: Policy) -> None:
        """A new policy holds from the next call on, in scopes that are open as well."""
        try:
            before = self._runtime.adopt(policy)
        except InvalidPolicy as problem:
            self._keep_old(problem)
            return
        self._tell(problem="")
        if before is not None:
            before.close()

    def _keep_old(self, problem: InvalidPolicy) -> None:
        self._tell(problem=str(problem))

    def _tell(self, *, problem: str) -> None:
        runtime = self._runtime
        event = PolicyReloaded(
            id=new_id(runtime.now_ms()),
            at=runtime.now(),
            source=str(self._watcher.source),
            accepted=not problem,
            problem=problem,
        )
        runtime.events.emit(event)


def loaded(policy: PolicySource | None) -> Policy:
    """The policy; one without budgets where none is given."""
    if policy is None:
        return Policy()
    from costscope.policy import load_policy  # noqa: PLC0415 - on demand

    return load_policy(policy)


def reloading(runtime: Runtime, source: str | Path) -> Reloading:
    """What puts a file or folder in force anew when it changes."""
    from costscope.scope.reloading import Reloading  # noqa: PLC0415 - on demand

    return Reloading(runtime, source)


def sender(store: Store, policy: Policy) -> WebhookSender | None:
    """What delivers events to the policy's webhooks; None where it has none.

    Raises:
        InvalidPolicy: a webhook cannot be used here.
    """
    if not policy.webhooks:
        return None
    from costscope.observe.webhooks import WebhookSender  # noqa: PLC0415 - needs an HTTP client, which few have a use for

    sending = WebhookSender(store, policy.webhooks)
    if store.waits:  # a process that has died may have left something to be delivered
        sending.wake()
    return sending


def spans(
    tracing: bool | TracerProvider, labels: Collection[str], currency: str, *, gen_ai: bool
) -> Spans | None:
    """What makes a span of each call; None where nothing traces."""
    if tracing is False:
        return None
    from costscope.observe.telemetry.spans import Spans  # noqa: PLC0415 - the tracing API is loaded by whoever traces

    given = None if tracing is True else tracing
    return Spans(given, gen_ai=gen_ai, allowed_labels=labels, currency=currency)
