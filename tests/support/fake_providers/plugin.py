"""pytest fixtures; `tests/conftest.py` loads this module for every test folder."""

import pytest

from fake_providers.server import FakeProvider


@pytest.fixture
def provider(monkeypatch):
    """A running fake provider on a free loopback port, with a bill of its own."""
    for name in ("NO_PROXY", "no_proxy"):  # a proxy of the machine must not see loopback traffic
        monkeypatch.setenv(name, "127.0.0.1")
    with FakeProvider() as running:
        yield running
