"""Parts that not every runtime has: each is imported where there is a use for it, since `import costscope` is to be quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from opentelemetry.trace import TracerProvider

    from costscope.policy import PolicySource
    from costscope.runtime.reloading import Reloading
    from costscope.runtime.runtime import Runtime
    from costscope.stores import Store
    from costscope.telemetry.spans import Spans
    from costscope.webhooks import WebhookSender

__all__ = ["loaded", "reloading", "sender", "spans"]


def loaded(policy: PolicySource | None) -> Policy:
    """The policy; one without budgets where none is given."""
    if policy is None:
        return Policy()
    from costscope.policy import load_policy  # noqa: PLC0415 - on demand

    return load_policy(policy)


def reloading(runtime: Runtime, source: str | Path) -> Reloading:
    """What puts a file or folder in force anew when it changes."""
    from costscope.runtime.reloading import Reloading  # noqa: PLC0415 - on demand

    return Reloading(runtime, source)


def sender(store: Store, policy: Policy) -> WebhookSender | None:
    """What delivers events to the policy's webhooks; None where it has none.

    Raises:
        InvalidPolicy: a webhook cannot be used here.
    """
    if not policy.webhooks:
        return None
    from costscope.webhooks import WebhookSender  # noqa: PLC0415 - needs an HTTP client, which few have a use for

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
    from costscope.telemetry.spans import Spans  # noqa: PLC0415 - the tracing API is loaded by whoever traces

    given = None if tracing is True else tracing
    return Spans(given, gen_ai=gen_ai, allowed_labels=labels, currency=currency)
