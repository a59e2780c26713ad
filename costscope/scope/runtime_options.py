"""What a runtime can be told beside its store and its policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypedDict

from costscope.errors import InvalidInput
from costscope.ledger import LEASE_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from costscope.observe.events.callbacks import Given
    from costscope.observe.events.records import (
        CallRefused,
        CallSettled,
        Downgraded,
        RunawayDetected,
        ThresholdCrossed,
    )

DEFAULT_SLOT_LEASE_S: Final = 30.0
"""How long the slot of a process that died stays taken; a live one renews it every ten seconds."""

DEFAULT_LEASE_S: Final = 900.0
"""Longer than the SDKs' own time-out of 600 s, so that a call that is alive is not presumed lost."""


class RuntimeOptions(TypedDict, total=False):
    """What `Runtime` and `configure` take beside store and policy."""

    unscoped: Literal["allow", "deny"]
    lease_s: float
    slot_lease_s: float
    reload: bool
    clock: Callable[[], int]
    meter_provider: MeterProvider
    tracing: bool | TracerProvider
    gen_ai_attributes: bool
    metric_labels: Collection[str]
    outbox_limit: int
    on_threshold: Given[ThresholdCrossed]
    on_denied: Given[CallRefused]
    on_downgrade: Given[Downgraded]
    on_runaway: Given[RunawayDetected]
    on_settled: Given[CallSettled]


def check_options(unscoped: object, leases: Mapping[str, float], outbox_limit: int) -> None:
    """Refuse what cannot be used.

    Args:
        unscoped: allow, deny, or what the policy says.
        leases: their lengths in seconds, by name.
        outbox_limit: settlements.

    Raises:
        InvalidInput: it cannot.
    """
    problem = ""
    if unscoped not in (None, "allow", "deny"):
        problem = f'unscoped={unscoped!r}: write "allow" or "deny"'
    elif outbox_limit < 1:
        problem = f"outbox_limit={outbox_limit!r}: at least 1 settlement must find room"
    for name, lease_s in leases.items():
        if not 0 < lease_s <= LEASE_MAX_MS / 1000:  # false for NaN, too
            problem = (
                f"{name}={lease_s!r}: give seconds, more than 0 and at most {LEASE_MAX_MS // 1000} (a day)"
            )
    if problem:
        raise InvalidInput(problem)
