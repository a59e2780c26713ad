"""The metrics costscope records: names, units, descriptions. OpenTelemetry's API only, never its SDK."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

__all__ = ["Instruments", "instruments_for"]

_COST_BOUNDARIES: Final = (
    0.0001,
    0.0005,
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
    10.0,
    50.0,
    100.0,
    1000.0,
)
_DURATION_BOUNDARIES: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class Instruments:
    """One instrument per metric, made from one provider's meter.

    Units in braces are annotations (UCUM): Prometheus exporters leave them out of the metric's name.
    """

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("costscope")
        self.cost = meter.create_counter("costscope.cost", "{USD}", "What metered calls were charged.")
        self.tokens = meter.create_counter(
            "costscope.tokens",
            "{token}",
            "Tokens of metered calls by type; cache_read and cache_write are part of input, reasoning of output.",
        )
        self.calls = meter.create_counter("costscope.calls", "{call}", "Metered calls that ran.")
        self.denials = meter.create_counter("costscope.denials", "{call}", "Calls refused before they ran.")
        self.overruns = meter.create_counter(
            "costscope.overruns", "{USD}", "What calls cost above what had been reserved for them."
        )
        self.reservations = meter.create_counter(
            "costscope.reservations", "{reservation}", "Settled reservations by outcome."
        )
        self.scope_cost = meter.create_histogram(
            "costscope.scope.cost",
            "{USD}",
            "What one scope cost, the scopes nested in it included.",
            explicit_bucket_boundaries_advisory=_COST_BOUNDARIES,
        )
        self.scope_duration = meter.create_histogram(
            "costscope.scope.duration",
            "s",
            "How long one scope was open.",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDARIES,
        )


_made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_making: Final = Lock()


def instruments_for(provider: MeterProvider) -> Instruments:
    """The instruments of a provider, made once however many runtimes share it."""
    with _making:
        instruments = _made.get(provider)
        if instruments is None:
            instruments = _made[provider] = Instruments(provider)
        return instruments
