"""A call is settled once, whatever its driver does: it guards each step of its life itself."""

from __future__ import annotations

import gc
import itertools
import logging
from decimal import Decimal

import pytest
from interrupting import Interrupt

from costscope import HoldClosed, budget_scope
from costscope.engine.call.drive import areserve, asettle, defer, enqueue_settlement, rescue, reserve, settle
from costscope.engine.state.call import Call
from costscope.ledger import Release
from costscope.pricing.estimate.amounts import Estimate
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of
from costscope.testing.outage import OutageStore

CENT = 10_000_000
WARNING = "tool t was dropped without a settlement; what it held is charged"


class Driver:
    """Makes calls of a cent, and takes their steps one by one, on the store that the runtime has."""

    def __init__(self, runtime, books, colour, scope) -> None:
        self.runtime, self.books, self.scope = runtime, books, scope
        self._colour = colour
        self.told = []
        runtime.events.on("settled", self.told.append)

    def new(self) -> Call:
        return Call(state_of(self.scope), "tool", "t", Estimate({"cost": CENT, "tool_calls": 1}))

    def reserved(self) -> Call:
        call = self.new()
        if self._colour.name == "sync":
            reserve(call)
        else:
            self._colour.run(areserve, call)
        assert self.scope.held * 10**9 == CENT
        return call

    def settle(self, call, command) -> None:
        if self._colour.name == "sync":
            settle(call, command)
        else:
            self._colour.run(asettle, call, command)

    def booked(self, *costs) -> None:
        """The books and this process's counts have these calls, each once."""
        assert self.books.spent() == sum(costs)
        assert self.books.spent("tool_calls") == len(costs)
        self.books.settle()
        assert (self.scope.spent * 10**9, self.scope.held) == (sum(costs), 0)
        assert self.scope.summary().calls == len(costs)

    def came_to(self, *costs) -> None:
        """So have the listeners."""
        self.booked(*costs)
        assert self.runtime.events.drain(30)
        assert [event.cost for event in self.told] == list(costs)


@pytest.fixture
def driver(runtime, books, colour):
    with budget_scope(runtime=runtime, tenant="acme") as scope:
        yield Driver(runtime, books, colour, scope)


# ---------------------------------------------------------------------------------- settling twice


def test_a_driver_that_settles_twice_enters_it_once(driver):
    call = driver.reserved()
    command = call.commit_command({"cost": CENT // 2, "tool_calls": 1})
    driver.settle(call, command)
    driver.settle(call, command)
    driver.came_to(CENT // 2)


@pytest.mark.parametrize(
    "after", [enqueue_settlement, lambda call, _: rescue(call)], ids=["enqueue", "rescue"]
)
def test_what_comes_after_a_settlement_to_be_sure_adds_nothing(driver, after):
    call = driver.reserved()
    command = call.commit_command()
    driver.settle(call, command)
    after(call, command)
    driver.came_to(CENT)


@pytest.mark.parametrize("covered", [True, False])
def test_a_settlement_that_waits_for_its_store_is_counted_once(
    make_store, make_runtime, colour, policy, covered
):
    """So is one that no budget covers, and that is never sent."""
    store = OutageStore(make_store())
    runtime = make_runtime(store=store, policy=policy if covered else {})
    with budget_scope(runtime=runtime) as scope:
        call = Call(state_of(scope), "tool", "t", Estimate({"cost": CENT, "tool_calls": 1}))
        reserve(call)
        command = call.commit_command()
        assert (command is not None) == covered
        with store.away():
            settle(call, command)
            settle(call, command)
            rescue(call)
            assert len(services_of(runtime).outbox) == covered
            assert scope.spent * 10**9 == CENT
    assert services_of(runtime).outbox.drain(30)
    if covered:
        (found,) = [account for account in store.snapshot().accounts if account.key.startswith("all/")]
        assert found.meters["cost"].spent == CENT
    assert scope.summary().calls == 1


def test_a_call_that_no_budget_covers_is_counted_once(make_runtime, colour):
    """Also by a driver that was interrupted after it had counted it."""
    runtime = make_runtime(policy={})
    with budget_scope(runtime=runtime) as scope:
        call = Call(state_of(scope), "tool", "t", Estimate({"cost": CENT, "tool_calls": 1}))
        reserve(call)
        assert call.commit_command() is None
        assert defer(call, None) is None
        for settled in (settle, enqueue_settlement):
            settled(call, None)
        rescue(call)
    assert (scope.summary().calls, scope.spent * 10**9, scope.held) == (1, CENT, 0)
    assert colour.name


@pytest.mark.parametrize("first", ["commit_command", "release_command", "charge_command"])
@pytest.mark.parametrize("second", ["commit_command", "release_command"])
@pytest.mark.parametrize("sent", [True, False])
def test_one_that_decides_twice_what_a_call_took_is_told_so(driver, first, second, sent):
    call = driver.reserved()
    command = getattr(call, first)()
    if sent:
        driver.settle(call, command)
    with pytest.raises(HoldClosed, match="tool t: the hold is settled already"):
        getattr(call, second)()
    driver.settle(call, command)
    if first != "release_command":
        driver.came_to(CENT)
        return
    driver.books.settle()
    assert (driver.books.spent(), driver.scope.spent, driver.scope.held) == (0, 0, 0)


# ---------------------------------------------------------------------------------- abandoned calls


def commit_after_all(driver, call) -> None:
    with pytest.raises(HoldClosed):
        call.commit_command()


@pytest.mark.parametrize(
    "late",
    [
        commit_after_all,
        lambda driver, call: driver.settle(call, call.charge_command()),
        lambda driver, call: driver.settle(call, None),
        lambda _, call: enqueue_settlement(call, call.charge_command()),
        lambda _, call: rescue(call),
        lambda _, call: call.abandon(),
    ],
    ids=["commit", "settle", "settle nothing", "enqueue", "rescue", "abandon again"],
)
@pytest.mark.parametrize("asked", [True, False])
def test_one_that_settles_after_it_has_abandoned_enters_nothing(driver, late, asked, caplog):
    with caplog.at_level(logging.WARNING, "costscope"):
        call = driver.reserved() if asked else driver.new()
        call.abandon()
        late(driver, call)
        del call
        gc.collect()
    assert (driver.scope.spent, driver.scope.held) == (0, 0)
    assert driver.scope.summary().calls == 0
    if asked:
        assert driver.books.spent() == 0
        driver.books.settle()
    assert driver.told == []
    assert caplog.messages == []


def test_one_that_has_settled_cannot_abandon(driver):
    call = driver.reserved()
    command = call.commit_command()
    call.abandon()
    driver.settle(call, command)
    call.abandon()
    driver.came_to(CENT)


def test_one_that_gives_its_hold_back_twice_gives_it_back_once(driver):
    """Of what is held around it, too."""
    other = driver.reserved()
    call = driver.new()
    for command in (call.withdraw(), call.withdraw()):
        assert isinstance(command, Release)
    assert driver.scope.held * 10**9 == CENT
    driver.settle(other, other.commit_command())
    driver.came_to(CENT)


# ---------------------------------------------------------------------------------- dropped calls


def test_one_that_drops_a_reserved_call_leaves_its_hold_to_the_lease(driver):
    call = driver.reserved()
    assert not any("__del__" in vars(one) for one in type(call).__mro__), (
        "an interrupt that came in one would be lost"
    )
    del call
    gc.collect()
    assert (driver.books.spent(), driver.scope.held) == (0, Decimal("0.01")), (
        "charged when it is presumed lost"
    )


@pytest.mark.parametrize("end", ["asked", "settled", "released", "abandoned", "enqueued", "rescued"])
def test_a_call_that_holds_nothing_is_dropped_in_silence(driver, end, caplog):
    with caplog.at_level(logging.WARNING, "costscope"):
        call = driver.new() if end == "asked" else driver.reserved()
        if end == "settled":
            driver.settle(call, call.commit_command())
        elif end == "released":
            driver.settle(call, call.release_command())
        elif end == "abandoned":
            call.abandon()
        elif end == "enqueued":
            enqueue_settlement(call, call.commit_command())
        elif end == "rescued":
            rescue(call)
        del call
        gc.collect()
    assert caplog.messages == []
    if end in ("settled", "enqueued", "rescued"):
        driver.came_to(CENT)
    elif end != "asked":
        driver.books.settle()
        assert (driver.books.spent(), driver.scope.spent, driver.scope.held) == (0, 0, 0)


# ---------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize("amount", ["held", "less"])
def test_one_that_is_interrupted_while_it_settles_enters_it_once(runtime, books, amount, caplog):
    """Ctrl-C at every moment; then as drivers do: what is not settled is charged, and settled again to be sure."""
    taken = {"cost": CENT if amount == "held" else CENT // 2, "tool_calls": 1}
    least = fired = 0
    with budget_scope(runtime=runtime) as scope, caplog.at_level(logging.WARNING, "costscope"):
        for at in itertools.count():
            call = Call(state_of(scope), "tool", "t", Estimate({"cost": CENT, "tool_calls": 1}))
            reserve(call)
            command = None
            with Interrupt(at) as interrupt:
                try:
                    command = call.commit_command(taken)
                    settle(call, command)
                except KeyboardInterrupt:
                    pass
            rescue(call)
            if command is not None:
                settle(call, command)
            assert call.over
            del call
            least, fired = least + taken["cost"], fired + interrupt.fired
            if fired % 8 == 0 or not interrupt.fired:
                assert books.spent("tool_calls") == at + 1
                assert least <= books.spent() <= CENT * (at + 1)
                books.settle()
            if not interrupt.fired:
                break
        assert scope.summary().calls <= at + 1
    assert fired > 20, "the profiler saw nothing"
    assert caplog.messages == []
