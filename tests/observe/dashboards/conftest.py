"""Where Prometheus is not installed, its tests say so."""

import pytest
from prometheus import missing


@pytest.fixture(scope="session")
def installed_prometheus():
    reason = missing()
    if reason:
        pytest.skip(reason)
