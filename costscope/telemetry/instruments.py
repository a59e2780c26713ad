"""The instruments of a meter provider, one for each line of `METRICS`. OpenTelemetry's API only, never its SDK."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from costscope.telemetry.metrics import CURRENCY, METRICS

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, UpDownCounter

    from costscope.telemetry.metrics import Metric

__all__ = ["Instruments", "instruments_for"]


class Instruments:
    """One instrument per metric, made from one provider's meter for one currency."""

    cost: Counter
    tokens: Counter
    calls: Counter
    call_duration: Histogram
    retries: Counter
    unscoped: Counter
    denials: Counter
    shadow_denials: Counter
    degraded: Counter
    downgrades: Counter
    saved: Counter
    thresholds: Counter
    runaways: Counter
    reservations: Counter
    overruns: Counter
    presumed: Counter
    runs: Counter
    runs_active: UpDownCounter
    run_duration: Histogram
    run_cost: Histogram
    iterations: Counter
    scope_cost: Histogram
    scope_duration: Histogram
    resets: Counter
    reloads: Counter

    def __init__(self, provider: MeterProvider, currency: str) -> None:
        # Amounts of two currencies must not meet in one series, and exporters to Prometheus drop such units: the
        # currency is an attribute of the meter, which they keep.
        meter = provider.get_meter("costscope", attributes={"currency": currency})
        for field, metric in METRICS.items():
            setattr(self, field, _made(meter, metric, currency))


def _made(meter: Meter, metric: Metric, currency: str) -> Counter | UpDownCounter | Histogram:
    unit = f"{{{currency}}}" if metric.unit == CURRENCY else metric.unit
    if metric.kind == "counter":
        return meter.create_counter(metric.name, unit, metric.description)
    if metric.kind == "up-down counter":
        return meter.create_up_down_counter(metric.name, unit, metric.description)
    return meter.create_histogram(
        metric.name, unit, metric.description, explicit_bucket_boundaries_advisory=metric.boundaries
    )


_known: WeakKeyDictionary[MeterProvider, dict[str, Instruments]] = WeakKeyDictionary()
_making: Final = Lock()


def instruments_for(provider: MeterProvider, currency: str) -> Instruments:
    """The instruments of a provider for a currency, made once however many runtimes share them."""
    with _making:
        by_currency = _known.setdefault(provider, {})
        instruments = by_currency.get(currency)
        if instruments is None:
            instruments = by_currency[currency] = Instruments(provider, currency)
        return instruments
