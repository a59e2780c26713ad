"""What a scrape would show, as a dict."""

from __future__ import annotations

from books_of import snapshot

from costscope.observe.exporter.grouping import Grouping
from costscope.observe.exporter.series import families
from costscope.observe.reports.account_rows import account_rows
from costscope.observe.reports.forecast import BurnRates

__all__ = ["Published", "as_dict"]


def as_dict(found):
    """`{"name{label=value,...}": value}` of families, labels without a value left out."""
    shown = {}
    for family in found:
        for labels, value in family.samples:
            pairs = zip(family.labels, labels, strict=True)
            text = ",".join(f"{name}={label}" for name, label in pairs if label)
            place = f"{family.name.removeprefix('costscope_')}{{{text}}}"
            assert place not in shown, f"{place} twice: Prometheus refuses the whole scrape"
            shown[place] = value
    return shown


class Published:
    """The series of successive snapshots."""

    def __init__(self, labels=("tenant", "user"), top=50, window_s=60.0):
        self.grouping = Grouping(labels, top)
        self.rates = BurnRates(window_s)

    def of(self, *accounts, **at):
        found = snapshot(*accounts, **at)
        rows = account_rows(found)
        self.rates.observe(found.now_ms, rows)
        return as_dict(families(self.grouping.groups(rows, found.now_ms, self.rates), self.grouping.labels))
