"""Time that passes in a run between its calls, for the detection of runaways: no test waits for it.

In memory it is this process's clock that is moved. On Valkey it is the server that takes the time, so the moment at which
it noted the run's last call is moved back instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from costscope.scope.scope import state_of

if TYPE_CHECKING:
    from costscope import Scope

__all__ = ["OnTheServer", "passing"]


class _Here:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now_s = 1000.0
        monkeypatch.setattr("costscope.engine.call.after_settle.perf_counter", lambda: self._now_s)

    def __call__(self, scope: Scope, seconds: float) -> None:
        del scope
        self._now_s += seconds


class OnTheServer:
    """Time by a server's clock."""

    def __init__(self, server: object, url: str) -> None:
        self._server = server
        (self._ledger,) = parse_qs(urlsplit(url).query)["ledger"]

    def __call__(self, scope: Scope, seconds: float) -> None:
        assert state_of(scope).services.call_reports.drain(30)
        key = f"costscope:1:{{{self._ledger}}}:board:notes:{state_of(scope).run.key}"
        if self._server.ask(f"HEXISTS {key} t").strip() == ":1":
            self._server.ask(f"HINCRBY {key} t -{round(seconds * 1000)}")


@pytest.fixture
def passing(request, store_kind, monkeypatch):
    """`passing(scope, seconds)`: so much time passes in the run of a scope."""
    if store_kind == "memory":
        return _Here(monkeypatch)
    return OnTheServer(request.getfixturevalue("valkey_server"), request.getfixturevalue("patient_url"))
