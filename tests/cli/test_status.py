"""`costscope status` on a real server."""

import json

import pytest
from programs import started

from costscope import Runtime, budget_scope


def test_every_account_with_spent_held_limit_and_reset(costscope, books):
    _, url = books
    done = costscope("status", "--store", url)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    day = next(at for at, line in enumerate(lines) if line.startswith("tenant-day"))
    assert "tenant=acme" in lines[day]
    assert "resets 20" in lines[day]
    assert "UTC" in lines[day]
    assert lines[day + 1].split()[:2] == ["cost", "(USD)"]
    assert "█" in lines[day + 1]
    assert "▒" in lines[day + 1]
    assert lines[day + 1].split()[3:] == ["25%", "0.5001", "+", "0.7500", "of", "5.0000"]
    assert lines[day + 2].split()[0:2] == ["model", "calls"]
    assert lines[day + 2].endswith("of 10")
    run = next(at for at, line in enumerate(lines) if line.startswith("scope"))
    assert run > day, "inline limits come after the policy's budgets"
    assert lines[run].endswith("never resets")
    assert "2 accounts, 1 live hold " in done.out


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_none_is_wrapped(costscope, books, columns):
    _, url = books
    done = costscope("status", "--store", url, COLUMNS=str(columns))
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= columns
    assert sum(" of " in line for line in done.out.splitlines()) == 3, "one line for each meter"


def test_without_unicode_the_bars_are_ascii(costscope, books):
    _, url = books
    done = costscope("status", "--store", url, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert done.out.isascii()
    assert "##" in done.out


def test_json_is_one_exact_object(costscope, books):
    _, url = books
    done = costscope("status", "--json", COSTSCOPE_STORE=url)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["live_holds"] == 1
    day, run = found["accounts"]
    assert day["budget"] == "tenant-day"
    assert day["labels"] == {"tenant": "acme"}
    assert day["resets_at"].endswith("T00:00:00Z")
    assert day["meters"]["cost"] == {
        "limit": 5.0,
        "spent": 0.500000001,
        "held": 0.75,
        "remaining": 3.749999999,
        "presumed": 0.0,
    }
    assert day["meters"]["model_calls"]["spent"] == 1
    assert run["budget"] == "scope"
    assert run["resets_at"] is None


def test_a_policy_adds_its_limits_and_the_budgets_nobody_used(costscope, books, policy_file):
    _, url = books
    policy_file.write_text(policy_file.read_text().replace('"5.00"', '"7.00"'))
    found = json.loads(costscope("status", "--store", url, "--policy", str(policy_file), "--json").out)
    assert found["accounts"][0]["meters"]["cost"]["limit"] == 7.0
    assert found["unused_budgets"] == ["never-used"]
    assert "Not used yet: never-used" in costscope("status", "--store", url, "--policy", str(policy_file)).out


def test_a_run_without_limits_has_an_account_with_nothing_to_show_unless_it_was_halted(costscope, tcp_store):
    _, url = tcp_store
    policy = {"budgets": [{"id": "team", "limits": {"runs": 9}}]}
    with Runtime(store=url, policy=policy) as runtime:
        for name in ("r-1", "r-2", "r-3"):
            with budget_scope(run=name, runtime=runtime) as run:
                if name == "r-3":
                    run.halt("enough")
    done = costscope("status", "--store", url)
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("run ")] == ["run=r-3"]
    assert "4 accounts (2 with nothing to show), 0 live holds" in done.out
    accounts = json.loads(costscope("status", "--json", "--store", url).out)["accounts"]
    assert [account["halted"] for account in accounts] == [False, False, False, True]


def test_an_empty_ledger_says_so(costscope, tcp_store):
    _, url = tcp_store
    done = costscope("status", "--store", url)
    assert done.code == 0
    assert "empty" in done.out


def test_a_description_written_by_other_hands_does_not_stop_the_report(costscope, books):
    server, url = books
    key = _account_keys(server)[0]
    server.ask(f"HSET {key} about nonsense")
    done = costscope("status", "--store", url)
    assert done.code == 0
    assert "no limit" in done.out


def test_a_hold_whose_agent_died_is_presumed_by_who_looks(costscope, books):
    from costscope.ledger import Account, Reserve, new_id
    from costscope.stores import open_store

    _, url = books
    store = open_store(url)
    store.execute(
        [Reserve(new_id(), (Account("lost", (("tool_calls", 9),)),), {"tool_calls": 4}, lease_ms=1)]
    )
    store.close()
    found = json.loads(costscope("status", "--store", url, "--json").out)
    (lost,) = [account for account in found["accounts"] if account["key"] == "lost"]
    assert lost["meters"]["tool_calls"] == {
        "limit": None, "spent": 4, "held": 0, "remaining": None, "presumed": 4,
    }  # fmt: skip
    assert found["live_holds"] == 1, "the other one lives"


def test_watch_and_json_exclude_each_other(costscope, books):
    _, url = books
    assert costscope("status", "--store", url, "--watch", "--json").code == 2


def test_watch_refreshes_until_interrupted(environment, books):
    import signal
    import subprocess
    import sys

    _, url = books
    command = [sys.executable, "-m", "costscope", "status", "--watch", "--store", url]
    with started(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        screens = 0
        for line in process.stdout:
            screens += "live hold" in line
            if screens == 2:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 0


def _account_keys(server) -> list[str]:
    keys = server.ask("KEYS costscope:1:*:a:*").split("\r\n")
    return [key for key in keys if key.startswith("costscope:")]
