"""A Valkey store whose server is fakeredis, in this process: quick, and no proof of anything by itself."""

from __future__ import annotations

import asyncio
import threading

import fakeredis

from costscope_valkey.store import ValkeyStore
from costscope_valkey.url import parse_url

__all__ = ["FakeLink", "FakeValkeyStore"]

_INFO = b"valkey_version:9.0.0\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
_NOWHERE = "valkey://127.0.0.1:1/0?total_timeout_ms=1&connect_timeout_ms=1&operation_timeout_ms=1"


class FakeValkeyStore(ValkeyStore):
    """Everything of the real store but its connections."""

    def __init__(self) -> None:
        super().__init__(parse_url(_NOWHERE))
        self._link.close()
        self._link = FakeLink(self._link.server)
        self._alink = _FakeAsyncLink(self._link)
        self._threads._wait_s = 30.0  # interpreted Lua is slow, and the address above impatient


class FakeLink:
    """What a `Link` is, to a server in this process."""

    def __init__(self, server=None) -> None:
        self.server = server
        self._client = fakeredis.FakeValkey(server=fakeredis.FakeServer(server_type="valkey"))
        # Replies as they are, as a `Link` has them: the client's own reading of SET makes False of a value it gives back,
        # which two threads that check the server at once would meet.
        self._client.response_callbacks.clear()
        self._turn = threading.Lock()

    def call(self, script, keys, args):
        with self._turn:
            return self._client.eval(script.source, len(keys), *keys, *args)

    def command(self, *words):
        if words[0] == "INFO":
            return _INFO
        with self._turn:
            return self._client.execute_command(*words)

    def close(self) -> None:
        pass


class _FakeAsyncLink:
    def __init__(self, link: FakeLink) -> None:
        self._link = link

    def submit(self, script, keys, args, *, then=None):
        loop = asyncio.get_running_loop()
        result = loop.create_future()

        def answer() -> None:
            reply = self._link.call(script, keys, args)
            if not result.cancelled():
                result.set_result(then(reply) if then else reply)

        loop.call_soon(answer)  # later, as a real reply comes
        return result

    async def call(self, script, keys, args):
        return await self.submit(script, keys, args)

    async def aclose(self) -> None:
        pass
