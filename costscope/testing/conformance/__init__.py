"""The checks every store must pass, for pytest: what a store promises, one test each.

    from costscope.testing.conformance import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            with MyServer() as server:
                yield MyStore(server.url)

Every check runs twice, through `execute` and through `aexecute`, and ends with an audit of the whole ledger.
"""

import pytest

# so that a failed check shows its numbers, as in a test of one's own
pytest.register_assert_rewrite(
    *[
        f"{__name__}.{name}"
        for name in (
            "admission_checks",
            "event_log_checks",
            "keeping",
            "leases",
            "protocol",
            "run_stats_checks",
            "set_once_checks",
            "settlement_checks",
            "suite",
        )
    ]
)

from costscope.testing.conformance.callers import Execute  # noqa: E402 - after the line above
from costscope.testing.conformance.suite import StoreConformance  # noqa: E402 - as above

__all__ = ["Execute", "StoreConformance"]
