"""The ACL in docs/stores.md is all that costscope needs, and no command more."""

import asyncio
import re
from pathlib import Path

import pytest

from costscope.board import (
    AckDeliveries,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope.ledger import Account, Commit, Extend, Outcome, Read, Release, Reserve, new_id
from costscope.stores import open_store

STORES = Path(__file__).parents[2] / "docs" / "stores.md"
[LINE] = re.findall(r"^ACL SETUSER .*$", STORES.read_text(encoding="utf-8"), re.MULTILINE)
NOT_PROVOKED = {"+hdel", "+select"}
"""Needed all the same: the index forgets what is long gone; another database than 0."""
ON_THE_BOARD = [
    SetOnce("g#x", "v", 60_000),
    Forget("other"),
    RecordCall("run", "digest", True, 60_000),
    Pace("line", 60_000, 0),
    Publish("id", "{}", "g#80", 60_000, ("ops",)),
    ReadEvents(),
    LeaseDeliveries(60_000),
    AckDeliveries(("id:ops",)),
]


@pytest.fixture
def server(valkey_server_factory):
    return valkey_server_factory(tcp=True, appendonly="yes")


def use_every_verb(server) -> None:
    url = f"valkey://costscope:SECRET@127.0.0.1:{server.port}/0?total_timeout_ms=20000&operation_timeout_ms=10000"
    store = open_store(url)
    kept = Account("a", (("cost", 100),), keep_ms=60_000)
    lost, held, released = new_id(), new_id(), new_id()
    try:
        replies = store.execute(
            [
                Reserve(lost, (kept,), {"cost": 1}, lease_ms=1),
                Reserve(held, (kept,), {"cost": 1}, lease_ms=60_000),
                Reserve(released, (kept,), {"cost": 1}, lease_ms=60_000),
                Extend(held, 90_000),
                Commit(held, (kept,), {"cost": 1}, keep_ms=60_000),
                Release(released, (kept,), keep_ms=60_000),
                Reserve(new_id(), (kept,), {"cost": 500}, lease_ms=60_000),
                Read((kept,)),
            ]
        )
        assert replies[-2].outcome is Outcome.DENIED
        short = new_id()
        store.execute([Reserve(short, (kept,), {"cost": 1}, lease_ms=60_000)])
        assert store.audit().holds
        store.execute([Commit(short, (kept,), {"cost": 1})])
        asyncio.run(read(store, kept))
        store.tell(ON_THE_BOARD)
        while store.audit().holds:  # the first one is presumed when its millisecond is over
            pass
        assert store.audit().exact
    finally:
        store.close()


async def read(store, account) -> None:
    await store.aexecute([Read((account,))])
    await store.aclose()


def test_with_these_permissions_everything_works(server):
    assert server.ask(LINE).startswith("+OK")
    use_every_verb(server)


@pytest.mark.parametrize("permission", sorted(set(re.findall(r"\+\w+", LINE)) - NOT_PROVOKED))
def test_without_one_of_them_something_does_not(server, permission):
    assert server.ask(LINE.replace(f"{permission} ", "").removesuffix(f" {permission}")).startswith("+OK")
    with pytest.raises(
        Exception, match=r"NOPERM|permission|not checked|not permitted|can't run|No permissions|ACL"
    ):
        use_every_verb(server)
