"""Calls that are refused before they are one: outside every scope, or without a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.call.tell import tell_refused

if TYPE_CHECKING:
    from costscope.errors import CallUnscoped, ModelUnpriced
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.telemetry import CallKind

__all__ = ["refused_unopened"]


def refused_unopened(
    error: CallUnscoped | ModelUnpriced, runtime: Runtime, kind: CallKind, name: str, scope: Scope | None
) -> None:
    """Count such a refusal, trace it and tell of it, as those of a call.

    Args:
        error: what is about to be raised.
        runtime: whose call it would be.
        kind: model or tool.
        name: of the model or tool.
        scope: where it was made; None: outside every scope, which is a place, too.
    """
    place = scope if scope is not None else runtime.outside
    place.totals.denial(error.kind, None, None, kind)
    if runtime.spans is not None:
        span = runtime.spans.start(kind, name, place.labels)
        if span is not None:
            runtime.spans.refuse(span, error)
    tell_refused(place, kind, name, error)
