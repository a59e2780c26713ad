"""The streams of SDKs: objects that a metered function returns before the call is over.

The proxy keeps the SDK's type, attributes and methods; it reads the usage as the items pass and settles once,
when the stream ends, is closed, or is collected. A stream left early is charged in full, unless its usage had
already come: the provider goes on working on a request whose client has gone.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

import wrapt

from costscope.engine.call.drive import asettle, enqueue_settlement, settle
from costscope.metered.results import broken_stream_command, error_command, result_command, stream_command
from costscope.pricing.usage.shapes import read_usage
from costscope.pricing.usage.stream_usage import StreamUsage

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.ledger import Commit, Release
    from costscope.metered.spec import Spec

_SNAPSHOTS: Final = ("current_message_snapshot", "current_completion_snapshot")
"""Where the SDKs' stream helpers keep what has come so far; they read ahead without the caller iterating."""


def metered_stream(spec: Spec, call: Call, result: object) -> object | None:
    """Return a proxy that settles the call when the stream ends; None if the result is not a stream."""
    if spec.kind != "model":
        return None
    kind: Any = type(result)  # hashable, which mypy doubts of type[object]
    proxy = _proxy_for(kind)
    return None if proxy is None else proxy(spec, call, result)


@lru_cache(maxsize=1024)
def _proxy_for(result_type: type) -> type[_Stream] | None:
    if hasattr(result_type, "__next__"):
        return _TwoWayStream if hasattr(result_type, "__anext__") else _SyncStream
    if hasattr(result_type, "__anext__"):
        return _AsyncStream
    if hasattr(result_type, "__enter__") and not hasattr(result_type, "usage"):
        return _Manager
    if hasattr(result_type, "__aenter__") and not hasattr(result_type, "usage"):
        return _AsyncManager
    return None


class _Stream(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs only, not at run time
    """What all proxies share: everything that does not wait."""

    def __init__(self, spec: Spec, call: Call, wrapped: object) -> None:
        super().__init__(wrapped)
        self._self_spec = spec
        self._self_call = call
        self._self_usage = StreamUsage()
        self._self_last: object = None

    def _self_end_command(self, *, ended: bool) -> Commit | None:
        """Return the commit that ends the call; None when it is settled already."""
        spec, call, usage = self._self_spec, self._self_call, self._self_usage
        if call.closed:
            return None
        if ended or usage.complete:
            return stream_command(spec, call, usage, self._self_last if ended else None)
        for name in _SNAPSHOTS:
            snapshot = _peek(self.__wrapped__, name)
            if snapshot is not None and _is_final(snapshot):
                return result_command(spec, call, snapshot)
        return broken_stream_command(spec, call, usage)

    def _self_error_command(self, error: BaseException) -> Commit | Release | None:
        call = self._self_call
        return None if call.closed else error_command(self._self_spec, call, error)

    def _self_feed(self, item: Any) -> Any:
        self._self_usage.feed(item)
        self._self_last = item
        return item

    def __del__(self) -> None:
        call = getattr(self, "_self_call", None)
        if call is not None and not call.over:  # collected unread or interrupted: no I/O from a finalizer
            enqueue_settlement(
                call, call.charge_command() if call.closed else self._self_end_command(ended=False)
            )


class _SyncStream(_Stream):
    def __iter__(self) -> _SyncStream:
        return self

    def __next__(self) -> Any:
        try:
            item = next(self.__wrapped__)
        except StopIteration:
            settle(self._self_call, self._self_end_command(ended=True))
            raise
        except BaseException as error:
            settle(self._self_call, self._self_error_command(error))
            raise
        return self._self_feed(item)

    def close(self) -> None:
        """Close the stream and settle its call."""
        try:
            self.__wrapped__.close()
        finally:
            settle(self._self_call, self._self_end_command(ended=False))

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *details: object) -> Any:
        try:
            return self.__wrapped__.__exit__(*details)
        finally:
            settle(self._self_call, self._self_end_command(ended=False))


class _AsyncStream(_Stream):
    def __aiter__(self) -> _AsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self.__wrapped__.__anext__()
        except StopAsyncIteration:
            await asettle(self._self_call, self._self_end_command(ended=True))
            raise
        except BaseException as error:
            await asettle(self._self_call, self._self_error_command(error), error)
            raise
        return self._self_feed(item)

    async def close(self) -> None:
        """Close the stream and settle its call."""
        await self._self_leave("close")

    async def aclose(self) -> None:
        """Close the stream and settle its call."""
        await self._self_leave("aclose")

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> Any:
        return await self._self_leave("__aexit__", *details)

    async def _self_leave(self, method: str, *details: object) -> Any:
        try:
            return await getattr(self.__wrapped__, method)(*details)
        finally:
            await asettle(self._self_call, self._self_end_command(ended=False), sys.exception())


class _TwoWayStream(_SyncStream, _AsyncStream):  # type: ignore[misc]  # two `close`: the first is meant
    """For `for` and for `async for`, as LiteLLM's is; `close` is the sync one, `aclose` the other."""


class _Manager(_Stream):
    """`with client.messages.stream(...) as stream`: the request is sent on entering."""

    def __enter__(self) -> Any:
        try:
            stream = self.__wrapped__.__enter__()
        except BaseException as error:
            settle(self._self_call, self._self_error_command(error))
            raise
        self._self_stream = _SyncStream(self._self_spec, self._self_call, stream)
        return self._self_stream

    def __exit__(self, *details: object) -> Any:
        try:
            return self.__wrapped__.__exit__(*details)
        finally:
            settle(self._self_call, self._self_stream._self_end_command(ended=False))  # noqa: SLF001 - of its own kind


class _AsyncManager(_Stream):
    """`async with client.messages.stream(...) as stream`."""

    async def __aenter__(self) -> Any:
        try:
            stream = await self.__wrapped__.__aenter__()
        except BaseException as error:
            await asettle(self._self_call, self._self_error_command(error), error)
            raise
        self._self_stream = _AsyncStream(self._self_spec, self._self_call, stream)
        return self._self_stream

    async def __aexit__(self, *details: object) -> Any:
        try:
            return await self.__wrapped__.__aexit__(*details)
        finally:
            await asettle(self._self_call, self._self_stream._self_end_command(ended=False), sys.exception())  # noqa: SLF001 - of its own kind


def _peek(stream: object, name: str) -> object | None:
    try:
        return getattr(stream, name, None)
    except Exception:  # noqa: BLE001 - the helpers assert that something has come; nothing has
        return None


def _is_final(snapshot: object) -> bool:
    """Return True once the SDK's helper has seen the end: the usage in it is the bill."""
    if getattr(snapshot, "stop_reason", None) is not None:
        return True
    choices = getattr(snapshot, "choices", None)
    finished = (
        isinstance(choices, list) and choices and all(getattr(c, "finish_reason", None) for c in choices)
    )
    return bool(finished) and read_usage(snapshot) is not None
