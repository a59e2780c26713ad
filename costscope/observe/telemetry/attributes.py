"""Which labels may become metric attributes, and how many values each attribute may have.

Every new combination of attribute values is one more time series, kept by the SDK for the life of the process
and by the metrics backend for months. So labels pass an allow-list, run ids never do, and an attribute that
has had too many values says `other`.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidLabel
from costscope.observe.telemetry.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Attributes = dict[str, str]

MAX_VALUES: Final = 500
"""Distinct values of one attribute, per runtime, before the rest is called `other`."""

OTHER: Final = "other"

_NEVER: Final = frozenset({"run", "run_id"})
_OURS: Final = frozenset(name for metric in METRICS.values() for name in metric.attributes)


class AttributeGuard:
    """Turns labels and names into attributes of bounded cardinality."""

    def __init__(self, allowed_labels: Collection[str]) -> None:
        """Check the allow-list.

        Raises:
            InvalidLabel: a string instead of a collection, a run id, or a name that costscope's own
                attributes use.
        """
        self._allowed = check_metric_labels(allowed_labels)
        self._seen: dict[str, set[str]] = {}
        self._adding = Lock()

    def attributes(self, labels: Mapping[str, str], **more: str | None) -> Attributes:
        """Return the allowed ones among a scope's labels, and these names with their values, as attributes.

        None leaves a name out.
        """
        found = {name: self.value(name, labels[name]) for name in self._allowed if name in labels}
        for name, value in more.items():
            if value is not None:
                found[name] = self.value(name, value)
        return found

    def level(self, label_names: Iterable[str]) -> str:
        """Return the names of a scope's labels as one value: `tenant,workflow` is not the level of `agent,tenant`."""
        return self.value("scope", ",".join(sorted(label_names)))

    def value(self, attribute: str, value: str) -> str:
        """Return the value while the attribute has had at most `MAX_VALUES` different ones, then `other`."""
        seen = self._seen.get(attribute)
        if seen is not None and value in seen:
            return value
        with self._adding:
            seen = self._seen.setdefault(attribute, set())
            if len(seen) < MAX_VALUES:
                seen.add(value)
            return value if value in seen else OTHER


def check_metric_labels(allowed: Collection[str]) -> tuple[str, ...]:
    """Return the names of an allow-list, sorted, if they may all be attributes.

    Raises:
        InvalidLabel: a string instead of a collection, a run id, or a name that costscope's own attributes use.
    """
    if isinstance(allowed, str):
        msg = f"metric labels: {allowed!r} is one string; give a tuple of label names"
        raise InvalidLabel(msg)
    for name in allowed:
        _check(name)
    return tuple(sorted(set(allowed)))


def _check(name: str) -> None:
    if name in _NEVER:
        msg = f"metric labels: {name!r} would start a new time series with every run; put run ids on spans or logs"
        raise InvalidLabel(msg)
    if name in _OURS:
        msg = f"metric labels: {name!r} is an attribute of costscope's own metrics; rename the label or leave it out"
        raise InvalidLabel(msg)
