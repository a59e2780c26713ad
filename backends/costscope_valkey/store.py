"""The Valkey store: batches in, one script, batches out; for threads and for event loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from costscope.errors import StoreUnavailable
from costscope.ledger import Account, Expire, LostHold, Outcome, audit
from costscope.stores import LostListeners
from costscope_valkey.alink import AsyncLink
from costscope_valkey.coalesce_tasks import TaskCoalescer
from costscope_valkey.coalesce_threads import BATCH_MAX, ThreadCoalescer
from costscope_valkey.codec import Codec, decode, source_of
from costscope_valkey.coordination import board_requests
from costscope_valkey.embedded import Reviver, ensure_server
from costscope_valkey.keys import LAYOUT, LedgerKeys
from costscope_valkey.link import Link, Script
from costscope_valkey.server_checks import check_server
from costscope_valkey.snapshot import HELD, read_record, read_snapshot
from costscope_valkey.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import AuditReport, Command, Reply, Snapshot
    from costscope.stores.coordination.operations import Answer, Op
    from costscope_valkey.codec import Request
    from costscope_valkey.url import ServerAddress

RETRY_HORIZON_MS: Final = 300_000
"""How long a settled hold is remembered. A settlement that was applied, whose reply was lost, and that is sent
again only after this time counts a second time (as an orphan): the books then say more than was spent, not less."""

_EXPIRED_AT_ONCE: Final = 128


class ValkeyStore:
    """The books of one ledger on a Valkey server.

    Args:
        server: where it is, and which ledger.
        on_lost: see `Link`.
        ledger_source: the script; tests put one in whose clock they move.
    """

    waits: Final = True
    keep_ms: Final = RETRY_HORIZON_MS

    def __init__(
        self,
        server: ServerAddress,
        *,
        on_lost: Callable[[], None] | None = None,
        ledger_source: str | None = None,
    ) -> None:
        self.url = str(server)
        self._keys = LedgerKeys(server.ledger)
        self._codec = Codec(self._keys)
        self._script = Script(ledger_source or source_of("ledger"))
        self._snapshot = Script(source_of("snapshot"))
        self._board = Script(source_of("board"))
        self._link = Link(server, on_lost=on_lost)
        self._alink = AsyncLink(server, on_lost=on_lost)
        self._threads: ThreadCoalescer[Command, Reply] = ThreadCoalescer(
            self._send, wait_s=server.timeouts.total_s, batch_max=BATCH_MAX
        )
        self._tasks: TaskCoalescer[Command, Reply] = TaskCoalescer(self._submit, batch_max=BATCH_MAX)
        self._checked = False
        self._due_ms = 0
        self._expiring = threading.Lock()
        self._listeners = LostListeners()
        # A server that cannot keep the books is refused where it is named; one that is away may come back.
        with contextlib.suppress(StoreUnavailable):
            self._check()

    def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch; waits for the reply, at most the total time-out."""
        if not self._checked:
            self._check()
        replies = self._threads.execute(commands)
        if self._due_ms and self.expire():
            again = _denied_places(replies)
            if again:
                return _replace(replies, again, self._threads.execute([commands[at] for at in again]))
        return replies

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch; waits for the reply without holding up the event loop."""
        if not self._checked:
            await asyncio.to_thread(self._check)
        replies = await self._tasks.execute(commands)
        if self._due_ms and await asyncio.to_thread(self.expire):
            again = _denied_places(replies)
            if again:
                return _replace(replies, again, await self._tasks.execute([commands[at] for at in again]))
        return replies

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """Apply operations of the board; waits for the answers, at most the total time-out for each 256 of them."""
        if not self._checked:
            self._check()
        answers: list[Answer] = []
        for request in board_requests(ops, self._keys):
            answers += request.read(self._link.call(self._board, request.keys, request.args))
        return answers

    async def atell(self, ops: Sequence[Op]) -> list[Answer]:
        """Do as `tell` without holding up the event loop."""
        if not self._checked:
            await asyncio.to_thread(self._check)
        answers: list[Answer] = []
        for request in board_requests(ops, self._keys):
            answers += request.read(await self._alink.call(self._board, request.keys, request.args))
        return answers

    def expire(self) -> int:
        """Presume holds whose deadline has passed, 128 at most; how many there were.

        Called where a reply says that some are due: the script may only touch accounts that are declared, so
        they have to be looked up.
        """
        presumed: list[LostHold] = []
        with self._expiring:  # the others wait, and find their accounts settled
            until_ms, self._due_ms = self._due_ms, 0
            if not until_ms:
                return 1  # another thread just did it
            limits = ("LIMIT", 0, _EXPIRED_AT_ONCE)
            due = cast(
                "list[bytes]",
                self._link.command("ZRANGEBYSCORE", self._keys.leases, "-inf", until_ms, *limits),
            )
            commands = self._expirations([hold_id.decode() for hold_id in due])
            if commands:
                replies = self._send(commands)
                presumed += (
                    LostHold(command.id, tuple(account.key for account in command.accounts))
                    for command, reply in zip(commands, replies, strict=True)
                    if reply.outcome is Outcome.PRESUMED
                )
        if presumed:
            self._listeners.tell(presumed)
        return len(commands)

    def on_lost(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Call this with the holds that this object presumes lost, of any owner."""
        return self._listeners.add(listener)

    def snapshot(self) -> Snapshot:
        """Return all accounts and live holds at one instant; costs the server some 5 us for each of them."""
        if not self._checked:
            self._check()
        found = self._look()
        if any(hold.deadline_ms <= found.now_ms for hold in found.holds):
            # they are presumed by a look: their agents may all be gone, and what they hold is shown as spent
            self._due_ms = found.now_ms
            while self._due_ms and self.expire():
                pass
            found = self._look()
        return found

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the whole ledger."""
        return audit(self.snapshot())

    def close(self) -> None:
        """Close the connection that threads share."""
        self._link.close()

    async def aclose(self) -> None:
        """Close this loop's connection too."""
        await self._alink.aclose()
        self._link.close()

    def __repr__(self) -> str:
        return f"<ValkeyStore {self.url}>"

    # --------------------------------------------------------------------- details

    def _look(self) -> Snapshot:
        keys = self._keys
        reply = self._link.call(self._snapshot, (keys.leases, keys.index), (keys.hold_prefix, "1"))
        return read_snapshot(cast("Any", reply), keys)

    def _check(self) -> None:
        check_server(self._link, str(LAYOUT))
        self._checked = True

    def _send(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = []
        for request in self._codec.encode(commands):
            # the script returns integers and nothing else
            raw = cast("list[int]", self._link.call(self._script, request.keys, request.args))
            found, due = decode(request, raw)
            if due:
                self._due_ms = raw[0]
            replies += found
        return replies

    def _submit(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        requests = self._codec.encode(commands)
        if len(requests) > 1:
            return asyncio.ensure_future(self._submit_parts(requests))
        request = requests[0]
        return self._alink.submit(
            self._script, request.keys, request.args, then=lambda reply: self._read(request, reply)
        )

    async def _submit_parts(self, requests: list[Request]) -> list[Reply]:
        replies: list[Reply] = []
        for request in requests:
            replies += self._read(request, await self._alink.call(self._script, request.keys, request.args))
        return replies

    def _read(self, request: Request, reply: object) -> list[Reply]:
        raw = cast("list[int]", reply)  # as in `_send`
        replies, due = decode(request, raw)
        if due:
            self._due_ms = raw[0]
        return replies

    def _expirations(self, hold_ids: list[str]) -> list[Expire]:
        """Make for each hold the command that presumes it, with the accounts its record names."""
        if not hold_ids:
            return []
        prefix = self._keys.hold_prefix
        texts = cast(
            "list[bytes | None]", self._link.command("MGET", *[prefix + hold_id for hold_id in hold_ids])
        )
        records = {i: read_record(text.decode()) for i, text in zip(hold_ids, texts, strict=True) if text}
        numbers = sorted({n for record in records.values() for n, _ in record.refs})
        found = cast("list[bytes | None]", self._link.command("HMGET", self._keys.index, "#", *numbers))
        names = {n: self._keys.account_of(key) for n, key in zip(numbers, found[1:], strict=True) if key}
        return [
            Expire(hold_id, tuple(Account(names.get(n, f"~forgotten/{n}"), ()) for n, _ in record.refs))
            for hold_id, record in records.items()
            if record.state == HELD
        ]


def open_url(url: str) -> ValkeyStore:
    """Open `valkey://[user:password@]HOST:PORT/DB?ledger=NAME`, `valkeys://` for TLS, `unix:///SOCKET`."""
    return ValkeyStore(parse_url(url))


def open_embedded(url: str) -> ValkeyStore:
    """Open `embedded://DIR?ledger=NAME`: a private server on this host, started if need be."""
    address = parse_url(url)
    assert address.directory is not None, "an embedded URL names a directory"
    socket_url = ensure_server(address.directory, idle_s=address.idle_s)
    reviver = Reviver(address.directory, idle_s=address.idle_s)
    return ValkeyStore(address.at_socket(parse_url(socket_url).path), on_lost=reviver.kick)


def _denied_places(replies: Sequence[Reply]) -> list[int]:
    return [at for at, reply in enumerate(replies) if reply.outcome is Outcome.DENIED]


def _replace(replies: list[Reply], places: list[int], others: list[Reply]) -> list[Reply]:
    for at, reply in zip(places, others, strict=True):
        replies[at] = reply
    return replies
