"""Slots are leases: kept as long as their process lives, free when it is dead, never with two at once.

Real processes that are killed (SIGKILL) and put to sleep (SIGSTOP) around a real server.
"""

from __future__ import annotations

import random
import time
from itertools import accumulate
from pathlib import Path

import pytest
from run_agent import STEADY_LEASE_S
from until import until

from costscope.board import ReadEvents
from costscope.events import RunEnded, decode_event
from costscope.stores import open_store

WATCHED_LEASE_S = 4.5
"""Of processes that a test watches for two of them: a third is renewed each time, so the machine may pause for 3 s."""
NAP_LEASE_S = 0.6
PLACES = 3
CENT = 10_000_000
POLICY = {
    "budgets": [
        {"id": "places", "limits": {"concurrent_runs": PLACES}},
        {"id": "money", "limits": {"cost": "100", "runs": 1000}},
    ]
}


@pytest.fixture
def books(patient_url):
    store = open_store(patient_url)
    yield store
    store.close()


def fill_places(make_agent, lease_s: float):
    """One process more than there are places, and the first ones have them."""
    found = [make_agent(POLICY, slot_lease_s=lease_s) for _ in range(PLACES + 1)]
    for number, agent in enumerate(found[:PLACES]):
        assert agent.do("open", {"run": f"r-{number}"}) == "ok"
    return found


@pytest.fixture
def agents(make_agent):
    """They keep their places however busy the machine is."""
    return fill_places(make_agent, STEADY_LEASE_S)


def enter(agent, run: str) -> str:
    return agent.do("open", {"run": run})


NO_PLACE = "in_flight places concurrent_runs"


def deadlines(books) -> dict[str, int]:
    """When each lease ends, in ms of the store's clock."""
    return {hold.id: hold.deadline_ms for hold in books.snapshot().holds}


def test_a_living_process_keeps_its_slot_for_many_leases(make_agent, books):
    agents = fill_places(make_agent, WATCHED_LEASE_S)
    waiting, first = agents[-1], deadlines(books)
    until_ms = max(first.values()) + round(WATCHED_LEASE_S * 1000)
    while books.snapshot().now_ms < until_ms:
        assert enter(waiting, "late") == NO_PLACE
        time.sleep(0.1)
    assert deadlines(books).keys() == first.keys()
    for agent in agents[:PLACES]:
        assert agent.do("call") == "ok"
        assert agent.do("leave") == "completed"
    assert enter(waiting, "late") == "ok"
    assert books.audit().exact


def test_the_slot_of_a_killed_process_is_free_when_its_lease_is_over_and_not_before(agents, books):
    dead, waiting = agents[0], agents[-1]
    (own,) = [hold.id for hold in books.snapshot().holds if any("run=r-0" in key for key, _, _ in hold.lines)]
    ends_ms = dead.hurry()
    dead.kill()
    ends_ms = deadlines(books).get(own, ends_ms)  # it may have renewed it once more
    assert_free_at(ends_ms, lambda: enter(waiting, "late"), NO_PLACE)
    assert own not in deadlines(books)
    for agent in agents[1:PLACES]:
        assert agent.do("call") == "ok", "those that live have kept theirs"
    assert books.audit().exact


def assert_free_at(ends_ms: int, ask, refused: str) -> None:
    """Ask until a slot is given: not before this ms of the clock, which is the store's, and from then on at once."""
    said, asked_ms = refused, 0
    while said == refused:
        assert asked_ms < ends_ms, "the lease is over, and the slot is not free"
        asked_ms, said = time.time_ns() // 1_000_000, ask()
    assert said == "ok"
    assert time.time_ns() // 1_000_000 >= ends_ms, "it was given away while the lease ran"


def ends_of(store, run: str):
    found = [decode_event(entry.record) for entry in store.tell([ReadEvents(1000)])[0]]
    return [event for event in found if isinstance(event, RunEnded) and event.run == run]


def test_the_run_of_a_killed_process_is_abandoned_and_that_is_told_once(agents, books):
    dead, *others = agents
    dead.hurry()
    dead.kill()
    until(lambda: [other.do("look") for other in others] == [PLACES - 1] * PLACES)
    for other in others:
        assert other.do("published")
    (ended,) = ends_of(books, "r-0")
    assert (ended.status, ended.labels) == ("abandoned", {"run": "r-0"})
    (money,) = [account for account in books.snapshot().accounts if account.key.startswith("money/")]
    runs = money.meters["runs"]
    assert (runs.spent, runs.presumed, runs.held) == (1, 1, PLACES - 1), "it was a run all the same"


def test_a_process_that_slept_longer_than_its_lease_makes_no_call_any_more(agents, books):
    """Its slot is another's by now. At no moment were more than three at work."""
    sleeper, waiting, living = agents[0], agents[-1], agents[1:]
    for agent in agents[:PLACES]:
        agent.tell("work", 0.005)
    until(lambda: calls(books) > 50)
    sleeper.freeze()
    until(lambda: enter(waiting, "late") == "ok")
    waiting.tell("work", 0.005)
    before = calls(books)
    until(lambda: calls(books) > before + 50)  # four would be at work if it woke and went on
    sleeper.thaw()
    worked = [sleeper.hears()]
    before = calls(books)
    until(lambda: calls(books) > before + 10)
    for agent in living:
        agent.tell("enough")
    worked += [agent.hears() for agent in living]
    assert [said for _, said in worked] == [
        "halted: its slot could not be renewed in time, and may be another's by now",
        *["ok"] * PLACES,
    ]
    at_work = [(made[0], made[-1]) for made, _ in worked]
    assert most_at_once(at_work) == PLACES
    assert sleeper.do("leave") == "halted"
    assert sleeper.do("published")
    assert [event.status for event in ends_of(books, "r-0")] == ["abandoned"], "the first word stands"
    assert books.audit().exact


def calls(books) -> int:
    """How many calls have been made and settled."""
    (money,) = [account for account in books.snapshot().accounts if account.key.startswith("money/")]
    return money.meters["cost"].spent // CENT


def most_at_once(intervals) -> int:
    """How many of these intervals overlap anywhere."""
    steps = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    return max(accumulate(step for _, step in steps))


@pytest.mark.soak
@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="nothing here says which process stands still"
)
@pytest.mark.parametrize("fenced", [True, False], ids=["self-fencing", "leases only"])
def test_seven_processes_that_fall_asleep_on_three_places(make_agent, fenced):
    """Between two calls, or while they wait for the store, for up to three leases. Leases alone do not keep them apart."""
    agents = [make_agent(POLICY, slot_lease_s=NAP_LEASE_S) for _ in range(7)]
    assert {agent.do("look") for agent in agents} == {0}
    until_s, asleep, naps = time.monotonic() + 15, {}, 0
    for number, agent in enumerate(agents):
        agent.tell("contend", f"a{number}", until_s, fenced)
    while not all(agent.has_answered for agent in agents):
        now_s = time.monotonic()
        for agent in agents:
            if agent.is_still and now_s >= asleep.setdefault(
                agent, now_s + random.uniform(0.5, 3) * NAP_LEASE_S
            ):
                del asleep[agent]
                naps += 1
                agent.thaw()
        time.sleep(0.01)
    worked = [interval for agent in agents for interval in agent.hears()]
    most, over_s = most_at_once(worked), over(worked, PLACES)
    print(
        f"{len(worked)} runs, {naps} naps: at most {most} at once on {PLACES} places, {over_s * 1000:.0f} ms over"
    )
    assert naps >= 10
    if fenced:
        assert (most, over_s) == (PLACES, 0)
    else:
        assert most > PLACES


def over(intervals, places: int) -> float:
    """For how many seconds more than so many overlap."""
    steps = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    counts = accumulate(step for _, step in steps)
    times = [at for at, _ in steps]
    return sum(
        later - at for at, later, count in zip(times, times[1:], counts, strict=False) if count > places
    )


def test_a_process_that_falls_asleep_between_the_grant_and_the_call_does_not_make_it(agents):
    sleeper, waiting = agents[0], agents[-1]
    sleeper.stop_inside_a_reserve()
    until(lambda: enter(waiting, "late") == "ok")
    sleeper.thaw()
    assert sleeper.hears().startswith("halted: its slot could not be renewed")


def test_a_task_that_waits_in_a_run_is_ended_when_the_slot_is_lost(make_agent):
    sleeper = make_agent(POLICY, slot_lease_s=9)  # its heart looks again within three seconds
    waiting = make_agent(POLICY, slot_lease_s=STEADY_LEASE_S)
    sleeper.tell("wait_async", {"run": "r-0"}, {}, 60)
    assert sleeper.hears() == "in"
    assert waiting.do("open_many", PLACES, "others") == PLACES - 1
    sleeper.freeze()
    until(lambda: enter(waiting, "late") == "ok")
    sleeper.thaw()
    said, seconds = sleeper.hears()
    assert said.startswith("halted: its slot could not be renewed")
    assert seconds < 30


# ------------------------------------------------------------------------- slots of calls

CALLS = {"budgets": [{"id": "places", "limits": {"concurrent_calls": 1}}]}


NO_CALL = "in_flight places concurrent_calls"


def test_a_call_whose_process_slept_before_it_asks_for_a_place_again(make_agent):
    """Between the grant and the call: the place may be another's, so it is asked for anew."""
    sleeper, other = [make_agent(CALLS, slot_lease_s=STEADY_LEASE_S) for _ in range(2)]
    for agent, team in ((sleeper, "a"), (other, "b")):
        assert agent.do("open", {"team": team}) == "ok"
    for taken in (True, False):
        ends_ms = sleeper.stop_inside_a_reserve()
        assert_free_at(ends_ms, lambda: other.do("call"), NO_CALL)
        if taken:
            assert other.do("call_until_told") == "inside"
        sleeper.thaw()
        assert sleeper.hears() == (NO_CALL if taken else "ok")
        if taken:
            assert other.do("the end of the call") == "ok"


def test_a_call_that_runs_keeps_its_place_for_many_leases(make_agent):
    busy, other = [make_agent(CALLS, slot_lease_s=WATCHED_LEASE_S) for _ in range(2)]
    assert busy.do("open", {"team": "a"}) == other.do("open", {"team": "b"}) == "ok"
    assert busy.do("call_until_told") == "inside"
    until_s = time.monotonic() + 2 * WATCHED_LEASE_S
    while time.monotonic() < until_s:
        assert other.do("call") == NO_CALL
        time.sleep(0.1)
    assert busy.do("the end of the call") == "ok"
    assert other.do("call") == "ok"


def test_a_call_that_lost_its_place_while_it_ran_ends_and_is_charged_what_it_cost(make_agent, books):
    """It is not stopped, since its money is spent: its place may be another's for the rest of it. That is all."""
    money = {"id": "money", "limits": {"cost": "1"}}
    policy = {"budgets": [*CALLS["budgets"], money]}
    sleeper, other = [make_agent(policy, slot_lease_s=STEADY_LEASE_S) for _ in range(2)]
    assert sleeper.do("open", {"team": "a"}) == other.do("open", {"team": "b"}) == "ok"
    assert sleeper.do("call_until_told") == "inside"
    sleeper.freeze()
    until(lambda: other.do("call") == "ok")
    sleeper.thaw()
    assert sleeper.do("the end of the call") == "ok"
    assert sleeper.do("call") == "ok"
    (cost,) = [a.meters["cost"] for a in books.snapshot().accounts if a.key.startswith("money/")]
    assert (cost.spent, cost.held, cost.presumed) == (30_000_000, 0, 0)
    assert books.snapshot().holds == ()
    assert books.audit().exact


def test_the_place_of_a_killed_call_is_free_after_its_lease(make_agent):
    dead, other = [make_agent(CALLS, slot_lease_s=STEADY_LEASE_S) for _ in range(2)]
    assert dead.do("open", {"team": "a"}) == "ok"
    assert other.do("open", {"team": "b"}) == "ok"
    ends_ms = dead.stop_inside_a_reserve()
    dead.kill()
    assert_free_at(ends_ms, lambda: other.do("call"), NO_CALL)
