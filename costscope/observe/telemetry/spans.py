"""Spans around metered calls: begun before the reservation, ended with the settlement.

Two plain functions without I/O, for threads and event loops alike. A span is made the current one only while the
metered function itself runs, step by step where that is a generator, and what was current before is put back by value:
a token of `attach` can only be given back in the context it was taken in, and a generator may be closed in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.observe.telemetry.attributes import check_metric_labels
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from costscope.errors import CallDenied
    from costscope.observe.telemetry.totals import CallKind, CallOutcome
    from costscope.pricing.usage.usage_fields import Usage


# The names below are those of the conventions' own repository (2026-11). They are still in development, and other
# instrumentation records the same calls under them: so they are written on demand only.

_PROVIDERS: Final = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}
"""The price table's providers whose names the conventions spell otherwise."""


def operation_of(kind: CallKind, provider: str | None, *, has_output: bool) -> str:
    """Return `gen_ai.operation.name`: a model without a price for output makes embeddings."""
    if kind == "tool":
        return "execute_tool"
    if not has_output:
        return "embeddings"
    return "generate_content" if provider == "google" else "chat"


def request_attributes(kind: CallKind, name: str, provider: str | None, operation: str) -> dict[str, str]:
    """Return what is known before the call; without a provider in the price list, no `gen_ai.provider.name`."""
    found = {"gen_ai.operation.name": operation}
    if kind == "tool":
        return {**found, "gen_ai.tool.name": name}
    if provider is not None:
        found["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
    return {**found, "gen_ai.request.model": name}


def usage_attributes(usage: Usage) -> dict[str, str | int]:
    """Return what is known after the call; input and output are totals, as in the conventions."""
    found: dict[str, str | int] = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.model is not None:
        found["gen_ai.response.model"] = usage.model
    parts = {
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    return found | {name: tokens for name, tokens in parts.items() if tokens}


_RUNS: Final = ("run", "run_id")
"""Labels that are on spans without being listed: a span is about one run, where a metric would start a series."""


class SpanHandle:
    """The span of one call, from `Spans.start` to `Spans.end`."""

    __slots__ = ("_inside", "_outside", "ended", "name", "span", "title")

    def __init__(self, span: Span, inside: Context, title: str, name: str) -> None:
        self.span = span
        self.title = title
        self.name = name
        self.ended = False
        self._inside = inside
        self._outside: Context | None = None

    def enter(self) -> None:
        """Make it the current span: the metered function, or the next step of its generator, runs now."""
        from opentelemetry import context  # noqa: PLC0415 - who has no spans does not import it

        self._outside = context.get_current()
        context.attach(self._inside)

    def leave(self) -> None:
        """Put back what was current before `enter`; what the function left current waits for the next `enter`."""
        from opentelemetry import context  # noqa: PLC0415

        if self._outside is not None:
            self._inside = context.get_current()
            context.attach(self._outside)
            self._outside = None


class Spans:
    """Makes the spans of one runtime.

    Args:
        tracer_provider: where they go; by default OpenTelemetry's global provider, also one that is set later.
        gen_ai: write the attributes of OpenTelemetry's conventions for generative AI too, and name the spans after
            them. Off by default: the SDKs' own instrumentation writes them as well, and tokens would count twice.
        allowed_labels: labels of a scope that become attributes; a run's id always does.
        currency: what amounts are in.

    Raises:
        InvalidLabel: `allowed_labels` is no collection of label names.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        gen_ai: bool = False,
        allowed_labels: Collection[str] = (),
        currency: str = "USD",
    ) -> None:
        self._given = tracer_provider
        self._gen_ai = gen_ai
        self._labels = (*check_metric_labels(allowed_labels), *_RUNS)
        self._currency = currency
        self._tracer: Tracer | None = None

    def start(
        self,
        kind: CallKind,
        name: str,
        labels: Mapping[str, str],
        *,
        provider: str | None = None,
        has_output: bool = True,
    ) -> SpanHandle | None:
        """Begin the span of a call. It is a child of the current span, and not itself the current one yet.

        Args:
            kind: model or tool.
            name: of the model that is called, or of the tool.
            labels: all labels of the call's scope.
            provider: id of the model's provider in the price list, where known.
            has_output: False for an embedding model.

        Returns:
            The handle for `end`; None without an SDK, where there is nothing to end.
        """
        from opentelemetry import trace  # noqa: PLC0415 - who has no spans does not import it

        if self._tracer is None:
            self._tracer = trace.get_tracer("costscope", tracer_provider=self._given)
        attributes = {"costscope.kind": kind, "costscope.name": name}
        for label in self._labels:
            if label in labels:
                attributes[f"costscope.label.{label}"] = labels[label]
        title = f"{kind} {name}"
        if self._gen_ai:
            operation = operation_of(kind, provider, has_output=has_output)
            attributes |= request_attributes(kind, name, provider, operation)
            title = f"{operation} {name}"
        span = self._tracer.start_span(
            title,
            kind=trace.SpanKind.CLIENT if kind == "model" else trace.SpanKind.INTERNAL,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        if not span.get_span_context().is_valid:
            return None
        return SpanHandle(span, trace.set_span_in_context(span), title, name)

    def end(
        self,
        handle: SpanHandle,
        *,
        outcome: CallOutcome = "ok",
        cost_nano: int = 0,
        held_nano: int = 0,
        budgets: int = 0,
        hold_id: str = "",
        usage: Usage | None = None,
        max_tokens: int | None = None,
        asked: str | None = None,
        degraded: bool = False,
        name: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """End the span of a call that is settled. Does nothing the second time.

        Args:
            handle: from `start`.
            outcome: `error` if the function raised.
            cost_nano: what was charged, in nano-units.
            held_nano: what had been reserved, in nano-units.
            budgets: how many accounts the call had to fit.
            hold_id: of the reservation in the ledger.
            usage: the tokens the call used, where known.
            max_tokens: the output cap the call was made with, where there was one.
            asked: the model it asked for, where it went to another one.
            degraded: a soft budget let it through above its limit.
            name: of the model that was called in the end, where it may have changed since `start`.
            error: what the function raised, where that is at hand. Its text stays out of the span: it may hold a prompt.
        """
        if handle.ended:
            return
        span = handle.span
        if span.is_recording():
            found: dict[str, str | int | float | None] = {
                "costscope.outcome": outcome,
                "costscope.cost": cost_nano / NANO,
                "costscope.held": held_nano / NANO,
                "costscope.currency": self._currency,
                "costscope.budget_count": budgets,
                "costscope.hold_id": hold_id or None,
                "costscope.asked": asked,
                "costscope.degraded": degraded or None,
                **self._usage_attributes(usage, max_tokens),
            }
            span.set_attributes({name: value for name, value in found.items() if value is not None})
            if name is not None and name != handle.name:
                self._rename(handle, name)
            if outcome == "error":
                _mark_failed(span, error, "" if error is None else type(error).__name__)
        _end(handle)

    def refuse(self, handle: SpanHandle, denial: CallDenied) -> None:
        """End the span of a call that was refused: its status says why, in the words of the error."""
        if handle.ended:
            return
        span = handle.span
        if span.is_recording():
            span.set_attribute("costscope.outcome", "denied")
            span.set_attribute("costscope.denial.kind", denial.kind)
            for name in ("budget", "meter"):
                value = getattr(denial, name, None)
                if value is not None:
                    span.set_attribute(f"costscope.denial.{name}", value)
            _mark_failed(span, denial, str(denial))
        _end(handle)

    def _rename(self, handle: SpanHandle, name: str) -> None:
        span = handle.span
        span.update_name(handle.title.removesuffix(handle.name) + name)
        span.set_attribute("costscope.name", name)
        if self._gen_ai:
            span.set_attribute("gen_ai.request.model", name)

    def _usage_attributes(
        self, usage: Usage | None, max_tokens: int | None
    ) -> dict[str, str | int | float | None]:
        found: dict[str, str | int | float | None] = {}
        if usage is not None:
            found["costscope.input_tokens"] = usage.input_tokens
            found["costscope.output_tokens"] = usage.output_tokens
        if self._gen_ai:
            found["gen_ai.request.max_tokens"] = max_tokens
            if usage is not None:
                found |= usage_attributes(usage)
        return found


def _mark_failed(span: Span, error: BaseException | None, description: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    if error is not None:
        kind = type(error)
        span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
    span.set_status(Status(StatusCode.ERROR, description))


def _end(handle: SpanHandle) -> None:
    handle.ended = True
    handle.span.end()
