"""The parts of the demo that decide: the bill, the limits, the estimate, the verdict."""

import asyncio
import time
from collections import Counter
from decimal import Decimal

import msgspec
import pytest
from azure_trace import requests as whole_trace
from demos import SCENARIO, ended_demo, verdict

from costscope import StoreUnavailable, budget_scope
from costscope.cli.demo.agents import Agent, TimedStore, TracedCall, load_trace
from costscope.cli.demo.launch import fresh_ledger
from costscope.cli.demo.progress import Places, read_books
from costscope.cli.demo.provider import Answer, Provider, Request
from costscope.cli.demo.scenario import MODELS, TOOLS, TURN_CALLS, Scenario, policy_of, run_of
from costscope.cli.demo.verdict import over_budget
from costscope.ledger import Account, AuditReport, Commit, Difference, Release, Reserve, new_id
from costscope.policy.load.loader import load_policy
from costscope.pricing.money import to_nano
from costscope.pricing.prices.book import PriceBook
from costscope.pricing.usage.shapes import read_usage
from costscope.pricing.usage.usage_fields import Usage
from costscope.scope.default_runtime import set_runtime
from costscope.scope.runtime import Runtime
from costscope.stores import open_store
from costscope.testing import OutageStore


class TestOverBudget:
    def test_nothing_above_a_limit_is_zero_even_far_below(self):
        assert over_budget({("a",): 100, ("b",): 5}, {("a",): 100, ("b",): 1}) == 0
        assert over_budget({("a",): 100}, {}) == 0

    def test_it_is_the_most_that_any_limit_is_exceeded_by(self):
        limits = {("a",): 100, ("a", "w"): 10, ("b",): 5}
        assert over_budget(limits, {("a",): 101, ("a", "w"): 17, ("b",): 5}) == 7

    def test_one_nano_counts(self):
        assert over_budget({("a",): 10**9}, {("a",): 10**9 + 1}) == 1

    def test_who_has_no_limit_was_allowed_nothing(self):
        assert over_budget({("a",): 100}, {("stranger",): 3}) == 3

    def test_what_the_ledger_does_not_know_of_is_unaccounted(self):
        path, limits = ("acme",), SCENARIO.limits
        more, less = limits | {path: limits[path] + 1}, limits | {path: limits[path] - 1}
        assert verdict(billed=more).unaccounted_nano == 1
        assert verdict(spent=more, billed=limits).unaccounted_nano == 0
        assert verdict(spent=limits, billed=less).unaccounted_nano == 0


class TestVerdict:
    def test_bills_at_the_limits_pass(self):
        assert verdict().passed
        result = verdict().as_json()
        assert result["over_budget_usd"] == 0
        assert (
            result["provider_billed_usd"]
            == result["ledger_spent_usd"]
            == result["limit_usd"]
            == Decimal("10.000000001")
        )
        assert (result["denials"], result["denials_by_kind"]) == (3, {"exhausted": 2, "in_flight": 1})
        assert (result["p50_us"], result["p99_us"], result["rate_per_s"]) == (20, 30, 2.0)
        assert (result["thresholds_crossed"], result["downgrades"], result["runaways_halted"]) == (9, 7, 2)
        assert result["saved_usd"] == Decimal("0.001")
        runs = result["runs"]
        assert runs["admitted"] == runs["completed"] + runs["halted"] == 512

    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    def test_one_nano_above_any_limit_fails_although_the_ledger_saw_nothing(self, depth):
        path = next(path for path in SCENARIO.limits if len(path) == depth)
        result = verdict(billed=SCENARIO.limits | {path: SCENARIO.limits[path] + 1})
        assert not result.passed
        assert result.as_json()["over_budget_usd"] == Decimal("1E-9")

    def test_money_the_ledger_lost_fails(self):
        path = ("acme",)
        result = verdict(spent=SCENARIO.limits | {path: SCENARIO.limits[path] - 1})
        assert not result.passed
        assert result.as_json()["unaccounted_usd"] == Decimal("1E-9")

    def test_books_that_are_not_exact_fail_and_say_where(self):
        difference = Difference("acme-day", "cost", "held = sum of live holds", 1, 2)
        result = verdict(audit=AuditReport(0, 1, 0, (difference,)))
        assert not result.passed
        assert result.as_json()["audit"] == ["acme-day cost: held = sum of live holds: expected 1, found 2"]


class TestScenario:
    def test_the_tenants_limits_add_up_to_the_budget(self):
        assert sum(limit for path, limit in SCENARIO.limits.items() if len(path) == 1) == SCENARIO.budget_nano

    def test_every_level_allows_less_than_the_one_above_and_together_more(self):
        limits = SCENARIO.limits
        for path, limit in limits.items():
            children = [inner for below, inner in limits.items() if below[:-1] == path]
            assert all(inner < limit for inner in children)
            assert not children or sum(children) > limit

    def test_the_agents_of_a_workflow_are_in_several_processes(self):
        process_of = {
            path: process
            for process in range(4)
            for path in SCENARIO.agents[process * 16 : process * 16 + 16]
        }
        assert len(process_of) == 64
        workflows = {path[:2] for path in process_of}
        assert len(workflows) == 6
        for workflow in workflows:
            assert len({process_of[path] for path in process_of if path[:2] == workflow}) == 4

    @pytest.mark.parametrize("calls", [1, 5, 19, 20, 59, 60, 240, 1001])
    def test_the_runs_of_an_agent_make_each_of_its_calls_once(self, calls):
        scenario = msgspec.structs.replace(SCENARIO, calls=calls)
        made = [attempt for run in range(scenario.runs) for attempt in scenario.calls_of(run)]
        assert made == list(range(calls))
        longest = max(len(scenario.calls_of(run)) for run in range(scenario.runs))
        assert scenario.turns * TURN_CALLS >= longest

    def test_one_agent_goes_out_of_control_twice_and_after_a_run_that_went_well(self):
        agent = SCENARIO.agents[0]
        assert SCENARIO.wild == {run_of(agent, 1): "repeats", run_of(agent, 2): "failures"}
        assert msgspec.structs.replace(SCENARIO, calls=20).wild == {run_of(agent, 0): "repeats"}
        assert msgspec.structs.replace(SCENARIO, calls=10).wild == {}, "too short to show"

    def test_its_policy_loads_and_has_the_limits_exactly(self):
        policy = load_policy(policy_of(SCENARIO))
        found = {budget.id: dict(budget.ceilings).get("cost") for budget in policy.budgets}
        assert found["acme-day"] == SCENARIO.limits["acme",]
        assert found["birch-support-day"] == SCENARIO.limits["birch", "support"]

    def test_it_survives_the_way_to_a_worker(self):
        decoded = msgspec.json.decode(msgspec.json.encode(SCENARIO), type=Scenario)
        assert decoded == SCENARIO
        assert decoded.limits == SCENARIO.limits


async def ask(reader, writer, request):
    writer.write(msgspec.json.encode(request) + b"\n")
    return msgspec.json.decode(await reader.readline(), type=Answer)


class TestProvider:
    @pytest.mark.parametrize("model", list(MODELS))
    def test_its_prices_are_those_of_the_policy_though_written_down_twice(self, model):
        price = PriceBook(load_policy(policy_of(SCENARIO)).prices, use_bundled=False).require(model)

        async def bill():
            async with Provider() as provider:
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                path = ("t", "w", "a", "r")
                request = Request(path, model, 0, 0, "one two .", max_tokens=50, answer_tokens=70)
                answer = await ask(reader, writer, request)
                writer.close()
                return answer, provider

        answer, provider = asyncio.run(bill())
        usage = read_usage(answer)
        assert usage == Usage(2, 50), "tokens end with a space; the cap is respected"
        assert provider.billed == dict.fromkeys(
            [("t",), ("t", "w"), ("t", "w", "a"), ("t", "w", "a", "r")], price.cost(usage)
        )
        assert provider.calls == 1

    def test_tools_cost_what_the_policy_says(self):
        async def bill():
            async with Provider() as provider:
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                for tool in TOOLS:
                    await ask(reader, writer, Request((tool,), tool, 0, 0))
                writer.close()
                return provider.billed

        assert asyncio.run(bill()) == {
            (tool,): to_nano(price) for tool, price in TOOLS.items() if price != "0"
        }

    def test_a_request_is_billed_when_it_arrives_and_half_of_one_is_not(self):
        async def bill():
            async with Provider(silent_for=1, silent_from=3) as provider:
                _, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                request = Request(("t",), "web_search", process=1, attempt=3)
                writer.write(msgspec.json.encode(request) + b"\n")
                await provider.silenced.wait()
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                request = Request(("t",), "demo-large", process=0, attempt=0, text="x " * 50)
                writer.write(msgspec.json.encode(request))
                writer.write_eof()
                assert await reader.read() == b"", "it hangs up"
                writer.close()
            return provider

        provider = asyncio.run(bill())
        assert provider.billed == {("t",): to_nano(TOOLS["web_search"])}
        assert (provider.calls, provider.unanswered) == (1, 1)

    def test_a_request_that_was_sent_elsewhere_says_what_it_has_saved(self):
        async def bill():
            async with Provider() as provider:
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                request = Request(("t",), "demo-small", 0, 0, "a b ", 50, 10, asked="demo-large")
                await ask(reader, writer, request)
                await ask(reader, writer, msgspec.structs.replace(request, asked="demo-small"))
                writer.close()
                return provider

        provider = asyncio.run(bill())
        assert (provider.instead, provider.calls) == (1, 2)
        assert provider.saved == 2 * (2_500 - 150) + 10 * (10_000 - 600)

    def test_what_is_out_of_order_is_answered_with_an_error_and_not_billed(self, monkeypatch):
        monkeypatch.setattr("costscope.cli.demo.provider._DELAY_S", 0)

        async def bill():
            async with Provider() as provider:
                reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                gone = await ask(reader, writer, Request(("t",), "old_service", 0, 0))
                answers = [await ask(reader, writer, Request(("t",), "run_code", 0, 0)) for _ in range(399)]
                writer.close()
                return gone, answers, provider

        gone, answers, provider = asyncio.run(bill())
        assert gone.error
        assert [bool(answer.error) for answer in answers] == [False] * 398 + [True]
        assert (provider.calls, provider.requests) == (398, {("t",): 400})
        assert provider.billed == {("t",): 398 * to_nano(TOOLS["run_code"])}

    def test_it_knows_how_many_requests_of_a_tenant_it_had_at_once(self):
        async def bill():
            async with Provider() as provider:

                async def one(tenant):
                    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
                    for _ in range(2):
                        await ask(reader, writer, Request((tenant,), "run_code", 0, 0))
                    writer.close()

                await asyncio.gather(*[one(tenant) for tenant in "aaab"])
                return provider.most_at_once

        assert asyncio.run(bill()) == {"a": 3, "b": 1}


class TestAgents:
    def test_a_prompt_has_exactly_the_tokens_of_the_trace(self):
        for size in load_trace():
            assert size.prompt.count(" ") == size.context_tokens

    def test_a_call_is_never_billed_more_than_was_held_for_it(self, monkeypatch):
        """Every 50th call of the trace through the real decorator: the commit never exceeds the reserve."""
        scenario = Scenario(1, 1, 1, to_nano("100"), 1, 3, None)
        seen: list[tuple[int, int]] = []

        async def run():
            store = open_store("memory://")
            spied = store.aexecute

            async def spy(commands):
                for command in commands:
                    if isinstance(command, Reserve):
                        held.update(command.amounts)
                    elif isinstance(command, Commit):
                        seen.append((held["cost"], command.amounts["cost"]))
                return await spied(commands)

            held: dict[str, int] = {}
            monkeypatch.setattr(store, "aexecute", spy)
            set_runtime(Runtime(store=store, policy=policy_of(scenario)))
            async with Provider() as provider:
                monkeypatch.setattr("costscope.cli.demo.provider._DELAY_S_MAX", 0)
                path = scenario.agents[0]
                agent = Agent(scenario, 0, path, Counter())
                async with agent.connect(provider.port), budget_scope(tenant=path[0], workflow=path[1]):
                    for one in whole_trace()[::50]:
                        prompt = TracedCall(one.context, one.generated).prompt
                        await agent.ask_large(prompt, answer_tokens=one.generated)

        asyncio.run(run())
        assert len(seen) == 177
        assert all(0 < actual <= held for held, actual in seen)

    @pytest.mark.parametrize("away", [1, 99])
    def test_an_agent_goes_on_after_a_moment_without_the_store_and_not_after_a_long_one(
        self, away, monkeypatch
    ):
        monkeypatch.setattr("costscope.cli.demo.provider._DELAY_S_MAX", 0)
        scenario = Scenario(1, 1, 60, to_nano("1"), 1, 3, None)
        agent, denials = scenario.agents[0], Counter()

        class Hiccups(OutageStore):
            batches = 0

            async def aexecute(self, commands):
                self.batches += 1
                if self.batches > away:
                    return await super().aexecute(commands)
                with self.away():
                    return await super().aexecute(commands)

        async def run():
            async with Provider() as provider:
                with Runtime(store=Hiccups(open_store("memory://")), policy=policy_of(scenario)) as runtime:
                    set_runtime(runtime)
                    try:
                        await Agent(scenario, 0, agent, denials).work(provider.port)
                    finally:
                        requests.update(provider.requests)

        requests = Counter()
        if away > 1:
            with pytest.raises(StoreUnavailable):
                asyncio.run(run())
            assert not requests
        else:
            asyncio.run(run())
            assert {path[-1] for path in requests} == {"agent-01.1", "agent-01.2", "agent-01.3"}
            assert denials["unavailable"] == away


def test_the_books_are_read_as_they_stand_while_a_run_goes_on():
    """A run counts as held until it ends, and its place beside it."""
    scenario = Scenario(1, 4, 40, to_nano("1"), 1, 3, None)
    path = scenario.agents[0]
    with (
        Runtime(store="memory://", policy=policy_of(scenario)) as runtime,
        budget_scope(runtime=runtime, tenant=path[0], workflow=path[1], agent=path[2]),
    ):
        with budget_scope(runtime=runtime, run=run_of(path, 0)[-1]):
            _, during = read_books(scenario, runtime.store.snapshot())
        _, after = read_books(scenario, runtime.store.snapshot())
    assert during["acme"] == Places(admitted=1, limit=4, taken=1, places=1)
    assert after["acme"] == Places(admitted=1, limit=4, taken=0, places=1)


def test_the_time_of_a_pair_is_that_of_its_reserve_and_its_commit():
    async def run():
        pairs = []
        store = TimedStore(open_store("memory://"), pairs)
        accounts = (Account("a", (("cost", 10), ("tool_calls", 9))),)
        amounts = {"cost": 1, "tool_calls": 1}
        first, second = new_id(), new_id()
        began_ns = time.perf_counter_ns()
        await store.aexecute([Reserve(first, accounts, amounts, 1000)])
        await store.aexecute([Reserve(second, accounts, amounts, 1000)])
        asked_ns = time.perf_counter_ns()
        await asyncio.sleep(0.05)  # the provider's time
        answered_ns = time.perf_counter_ns()
        await store.aexecute([Commit(first, accounts, amounts)])
        await store.aexecute([Release(second, accounts)])
        turn = (Account("t", (("iterations", 10),)),)
        await store.aexecute([Reserve("turn", turn, {"iterations": 1}, 1000)])
        await store.aexecute([Commit("turn", turn, {"iterations": 1})])
        without_provider_ns = time.perf_counter_ns() - began_ns - (answered_ns - asked_ns)
        return pairs, without_provider_ns

    (pair,), without_provider_ns = asyncio.run(run())
    assert 0 <= pair <= without_provider_ns / 1000


def test_percentiles_are_by_nearest_rank():
    hundred = ended_demo(pairs_us=list(range(100, 0, -1)))
    assert (hundred.percentile_us(50), hundred.percentile_us(99)) == (50, 99)
    assert ended_demo(pairs_us=[7]).percentile_us(99) == 7
    assert ended_demo(pairs_us=[]).percentile_us(50) == 0


def test_a_fresh_ledger_replaces_the_one_that_is_named_and_keeps_the_rest():
    first, second = (fresh_ledger("valkey://h:1/2?ledger=mine&total_timeout_ms=900") for _ in range(2))
    assert first != second
    assert first.startswith("valkey://h:1/2?total_timeout_ms=900&ledger=demo-")
    assert "mine" not in first
    assert fresh_ledger("memory://") == "memory://"
