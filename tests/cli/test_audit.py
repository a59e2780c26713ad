"""`costscope audit`: proves the books, and finds what was done to them."""

import json


def test_exact_books_exit_with_0(costscope, books):
    _, url = books
    done = costscope("audit", "--store", url)
    assert (done.code, done.err) == (0, "")
    assert "2 accounts and 1 live hold checked: exact" in done.out
    found = json.loads(costscope("audit", "--store", url, "--json").out)
    assert found["audit"] == "exact"
    assert found["accounts"] == 2


def test_a_changed_counter_is_found_and_exits_with_1(costscope, books):
    server, url = books
    key = next(
        line
        for line in server.ask("KEYS costscope:1:*:a:tenant-day*").split("\r\n")
        if line.startswith("costscope:")
    )
    length_and_text = server.ask(f"HGET {key} cost")
    counters = length_and_text.split("\r\n")[1].split(" ")
    counters[0] = str(int(counters[0]) - 1)  # somebody spent a nano-dollar less
    server.ask(f'HSET {key} cost "{" ".join(counters)}"')

    done = costscope("audit", "--store", url)
    assert (done.code, done.err) == (1, "")
    assert "1 difference" in done.out
    assert "tenant-day" in done.out
    assert "spent = settled" in done.out

    done = costscope("audit", "--store", url, "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["differences"][0]["meter"] == "cost"
    assert found["differences"][0]["expected"] - found["differences"][0]["found"] in (1, -1)
    assert len(found["audit"]) == 1
