"""The promises of the demo: each is broken once on purpose, and then the demo fails. And what its stream tells."""

from collections import Counter
from datetime import UTC, datetime

from demos import RUNS, SCENARIO, WILD, ended_demo, verdict

from costscope.cli.demo.progress import Crossing, Places, Progress
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.verdict import broken_promises
from costscope.events import CallRefused, Downgraded, RunEnded

AT = {"id": "1", "at": datetime(2026, 1, 1, tzinfo=UTC)}
LABELS = dict(zip(("tenant", "workflow", "agent", "run"), RUNS["acme"][0], strict=True))


class TestPromises:
    def test_a_demo_in_which_all_went_well_breaks_none(self):
        assert broken_promises(ended_demo()) == []

    def test_a_threshold_that_was_told_twice_is_one_too_many(self):
        fine = ended_demo()
        crossing = Crossing("birch-day", "cost", 80)
        fine.crossed[crossing] = 2
        fine.called_back[crossing] = 1
        assert broken_promises(fine) == [
            "birch-day crossed 80% once: the stream told of it 2 times, callbacks 1 times"
        ]
        fine.crossed[crossing], fine.called_back[crossing] = 1, 2
        assert len(broken_promises(fine)) == 1, "a callback in each of two processes"

    def test_a_callback_may_only_be_missing_where_a_worker_was_killed(self):
        fine = ended_demo()
        fine.called_back.clear()
        assert len(broken_promises(fine)) == 9
        killed = ended_demo(killed=1)
        killed.called_back.clear()
        killed.ended[RUNS["cedar"][0]] = "abandoned"
        assert broken_promises(killed) == []

    def test_a_threshold_that_was_passed_in_silence_is_missed(self):
        silent = ended_demo()
        del silent.crossed[Crossing("acme-day", "cost", 95)]
        assert broken_promises(silent) == ["acme-day is above 95%, and no one was told"]

    def test_a_run_that_the_ledger_admitted_and_nobody_saw_end_is_missed(self):
        lost = ended_demo()
        del lost.ended[RUNS["cedar"][0]]
        assert broken_promises(lost) == ["cedar: 168 runs admitted by the ledger, 167 ended"]

    def test_one_run_too_many_at_once_or_in_a_day_is_one_too_many(self):
        for who, seen in (("ledger", "most_taken"), ("provider", "most_at_once")):
            assert broken_promises(ended_demo(**{seen: Counter(acme=17)})) == [
                f"acme: the {who} saw 17 runs at once on 16 places"
            ]
        many = ended_demo()
        many.places["acme"] = Places(176, 175, 0, 16)
        assert broken_promises(many) == ["acme: 176 runs admitted, 175 allowed in a day"]

    def test_a_killed_worker_must_leave_abandoned_runs(self):
        assert len(broken_promises(ended_demo(killed=1))) == 1

    def test_a_runaway_must_be_halted_at_the_call_that_shows_it(self):
        (repeats, _), (failures, _) = WILD.items()
        late = ended_demo(requests=Counter({repeats: 11, failures: 3}))
        assert "made 11 calls where 10 are enough" in broken_promises(late)[0]
        free = ended_demo()
        free.ended[failures] = "completed"
        assert "it is completed" in broken_promises(free)[0]
        assert broken_promises(ended_demo(requests=Counter({repeats: 9, failures: 2}))) == [], (
            "it was refused its calls"
        )

    def test_who_works_as_he_should_is_no_runaway(self):
        wrong = ended_demo()
        wrong.runaways[RUNS["birch"][3]] = "repeats"
        assert len(broken_promises(wrong)) == 1

    def test_the_provider_must_have_served_every_downgrade_and_no_other(self):
        assert len(broken_promises(ended_demo(instead=8))) == 1
        assert not verdict(instead=8).passed


class TestHeard:
    def heard(self, *events):
        heard = Progress(SCENARIO, Provider())
        for event in events:
            heard.hear(event)
        return heard, [text for _, text in heard.events]

    def ended(self, status, **labels):
        return RunEnded(**AT, labels=LABELS | labels, run="r", status=status)

    def test_the_own_process_of_a_run_knows_best_how_it_ended(self):
        for order in (("abandoned", "halted"), ("halted", "abandoned")):
            heard, _ = self.heard(*[self.ended(status) for status in order])
            assert list(heard.ended.values()) == ["halted"]

    def test_runs_are_counted_by_tenant(self):
        heard, lines = self.heard(
            self.ended("completed", run="2"),
            self.ended("abandoned", run="3"),
            self.ended("abandoned", run="4"),
            self.ended("failed", tenant="birch"),
        )
        none = dict.fromkeys(heard.runs(), 0)
        assert heard.runs("acme") == none | {"completed": 1, "abandoned": 2}
        assert heard.runs("birch") == none | {"failed": 1}
        assert len(lines) == 1, "what is abandoned is worth one line for all of them"

    def test_a_lower_cap_is_no_downgrade(self):
        other = Downgraded(**AT, labels=LABELS, asked="a", effective="b", reason="r")
        capped = Downgraded(**AT, labels=LABELS, asked="a", effective="a", reason="r", max_tokens=5)
        heard, lines = self.heard(other, capped, other)
        assert heard.downgraded == 2
        assert len(lines) == 1

    def test_refused_runs_are_counted_and_refused_calls_are_not(self):
        refused = {**AT, "name": "n", "kind": "exhausted", "reason": "r", "budget": "b", "meter": "runs"}
        heard, lines = self.heard(
            CallRefused(**refused, labels=LABELS, what="run", limit=5),
            CallRefused(**refused, labels=LABELS | {"run": "2"}, what="run", limit=5),
            CallRefused(**refused, labels=LABELS, what="model"),
            CallRefused(
                **AT,
                labels=LABELS | {"run": "3"},
                what="run",
                name="n",
                kind="unavailable",
                reason="the store is away: it is tried again",
            ),
        )
        assert heard.runs("acme")["refused"] == heard.runs()["refused"] == 2
        assert lines == ["b: no more runs today, 5 were admitted"]
