"""Every metric costscope records: its name, kind, unit, attributes and meaning. `docs/metrics.md` is this table."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, UpDownCounter


MetricKind = Literal["counter", "up-down counter", "histogram"]

CURRENCY: Final = "{CURRENCY}"
"""Stands for the runtime's currency, such as `{USD}`. A unit in braces is an annotation (UCUM): Prometheus exporters
leave it out of the metric's name."""

CALL_SECONDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)
"""Upper bounds of the buckets of a call's duration: a tool that looks into a table, up to the SDKs' own time-out."""

_SPAN_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_AMOUNTS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 1000.0)


class Metric(NamedTuple):
    """One line of the table."""

    name: str
    kind: MetricKind
    unit: str
    attributes: tuple[str, ...]
    """Besides the labels of the allow-list, which every metric but `costscope.policy.reloads` may have."""
    description: str
    boundaries: tuple[float, ...] = ()


METRICS: Final[dict[str, Metric]] = {
    # calls
    "cost": Metric(
        "costscope.cost", "counter", CURRENCY, ("kind", "name"), "What metered calls were charged."
    ),
    "tokens": Metric(
        "costscope.tokens",
        "counter",
        "{token}",
        ("kind", "name", "type"),
        "Tokens of metered calls by type; cache_read and cache_write are part of input, reasoning of output.",
    ),
    "calls": Metric(
        "costscope.calls", "counter", "{call}", ("kind", "name", "outcome"), "Metered calls that ran."
    ),
    "call_duration": Metric(
        "costscope.call.duration",
        "histogram",
        "s",
        ("kind", "name", "outcome"),
        "How long one metered call took, from its reservation to its settlement.",
        CALL_SECONDS,
    ),
    "retries": Metric(
        "costscope.retries",
        "counter",
        "{retry}",
        ("kind", "name"),
        "Calls, and scopes, of the same name as the one before them in the same scope, which had failed.",
    ),
    "unscoped": Metric(
        "costscope.unscoped", "counter", "{call}", ("kind", "outcome"), "Calls outside every scope."
    ),
    # decisions
    "denials": Metric(
        "costscope.denials",
        "counter",
        "{denial}",
        ("what", "kind", "budget", "meter"),
        "Calls, runs and iterations refused before they began.",
    ),
    "shadow_denials": Metric(
        "costscope.shadow_denials",
        "counter",
        "{denial}",
        ("what", "kind", "budget", "meter"),
        "What shadow budgets would have refused; it was let through.",
    ),
    "degraded": Metric(
        "costscope.degraded",
        "counter",
        "{admission}",
        ("what", "budget", "meter"),
        "Calls, runs and iterations let through above the limit of a soft budget.",
    ),
    "downgrades": Metric(
        "costscope.downgrades",
        "counter",
        "{call}",
        ("name", "effective", "reason"),
        "Calls that went to another model than they asked for, or with a lower cap.",
    ),
    "saved": Metric(
        "costscope.saved",
        "counter",
        CURRENCY,
        ("name", "effective"),
        "What downgraded calls were held for less than the model they asked for.",
    ),
    "thresholds": Metric(
        "costscope.thresholds",
        "counter",
        "{crossing}",
        ("budget", "meter", "threshold", "actions"),
        "Thresholds of accounts that were crossed, once per account and window.",
    ),
    "runaways": Metric(
        "costscope.runaways", "counter", "{run}", ("reason",), "Runs found out of control, once per reason."
    ),
    # reservations
    "reservations": Metric(
        "costscope.reservations", "counter", "{reservation}", ("outcome",), "Settled reservations by outcome."
    ),
    "overruns": Metric(
        "costscope.overruns",
        "counter",
        CURRENCY,
        (),
        "What calls cost above what had been reserved for them.",
    ),
    "presumed": Metric(
        "costscope.presumed",
        "counter",
        "{hold}",
        (),
        "Holds of processes that went silent, presumed lost by this process.",
    ),
    # runs and scopes
    "runs": Metric("costscope.runs", "counter", "{run}", ("status",), "Runs that ended, by status."),
    "runs_active": Metric(
        "costscope.runs.active", "up-down counter", "{run}", (), "Runs that are open in this process."
    ),
    "run_duration": Metric(
        "costscope.run.duration", "histogram", "s", ("status",), "How long one run took.", _SPAN_SECONDS
    ),
    "run_cost": Metric(
        "costscope.run.cost",
        "histogram",
        CURRENCY,
        ("status",),
        "What one run cost in this process.",
        _AMOUNTS,
    ),
    "iterations": Metric(
        "costscope.iterations", "counter", "{iteration}", (), "Iterations of runs, counted as the run ends."
    ),
    "scope_cost": Metric(
        "costscope.scope.cost",
        "histogram",
        CURRENCY,
        ("scope", "outcome"),
        "What one scope cost, the scopes nested in it included.",
        _AMOUNTS,
    ),
    "scope_duration": Metric(
        "costscope.scope.duration",
        "histogram",
        "s",
        ("scope", "outcome"),
        "How long one scope was open.",
        _SPAN_SECONDS,
    ),
    # the books
    "resets": Metric(
        "costscope.resets", "counter", "{reset}", ("budget",), "Accounts whose spending was set back."
    ),
    "reloads": Metric(
        "costscope.policy.reloads",
        "counter",
        "{reload}",
        ("outcome",),
        "Policy sources that changed, by whether the change was accepted.",
    ),
}
"""By the attribute of `Instruments` that records it."""


class Instruments:
    """One instrument per metric, made from one provider's meter for one currency. OpenTelemetry's API only, no SDK."""

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
            setattr(self, field, _create(meter, metric, currency))


def _create(meter: Meter, metric: Metric, currency: str) -> Counter | UpDownCounter | Histogram:
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


class Meters:
    """The metrics' way out of one runtime: a provider, and its instruments for one currency.

    Args:
        provider: None for OpenTelemetry's global one, also one that is set later.
        currency: what amounts are in.
    """

    def __init__(self, provider: MeterProvider | None, currency: str) -> None:
        self.given = provider
        self._currency = currency
        self.made: Instruments | None = None
        """The instruments, once they have been asked for."""

    def provider(self) -> MeterProvider:
        """Return where the metrics go now."""
        if self.given is not None:
            return self.given
        from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415 - 9 ms that the first scope pays

        return get_meter_provider()

    def instruments(self) -> Instruments:
        """Return the instruments, made when they are first asked for."""
        # The proxy that stands in for a global provider not set yet passes its instruments on to the real one.
        if self.made is None:
            self.made = instruments_for(self.provider(), self._currency)
        return self.made


def instruments_for(provider: MeterProvider, currency: str) -> Instruments:
    """Return the instruments of a provider for a currency, made once however many runtimes share them."""
    with _making:
        by_currency = _known.setdefault(provider, {})
        instruments = by_currency.get(currency)
        if instruments is None:
            instruments = by_currency[currency] = Instruments(provider, currency)
        return instruments
