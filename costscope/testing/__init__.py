"""For the tests of those who use costscope, and of those who write a store for it.

`runtime()` gives books, a clock and outages to a test; `ManualClock` and `OutageStore` are its parts.
`costscope.testing.conformance` holds the checks every store must pass; it alone imports pytest.
"""

from costscope.testing.clock import ManualClock
from costscope.testing.outage import OutageStore
from costscope.testing.session import Session, runtime

__all__ = ["ManualClock", "OutageStore", "Session", "runtime"]
