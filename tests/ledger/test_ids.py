"""Ids: unique across threads and forks, sortable by time, and stable where they stand for a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from costscope.ledger import id_from_key, new_id


def test_an_id_is_128_bits_of_hex_that_no_key_can_be_confused_with():
    for made in (new_id(), id_from_key("order-7")):
        assert len(made) == 32
        assert int(made, 16) >= 0
        assert made == made.lower()


def test_ids_sort_by_time():
    before = time.time_ns() // 1_000_000
    first = new_id()
    assert before <= int(first[:12], 16) <= time.time_ns() // 1_000_000
    assert new_id(999) < new_id(1000) < new_id(1_000_000) < first


def test_threads_never_draw_the_same_id():
    with ThreadPoolExecutor(8) as pool:
        drawn = [i for part in pool.map(lambda _: [new_id() for _ in range(2000)], range(8)) for i in part]
    assert len(set(drawn)) == len(drawn) == 16_000
    assert len({i[12:] for i in drawn}) == 16_000  # by chance alone, whatever the clock says


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_draws_ids_of_its_own():
    """In a process of its own: pytest's may have threads, and forking those is another matter."""
    code = """
import os, sys
from costscope.ledger import new_id
new_id()
reader, writer = os.pipe()
child = os.fork()
ids = " ".join(new_id(0) for _ in range(300))
if child == 0:
    os.write(writer, ids.encode())
    os._exit(0)
os.waitpid(child, 0)
theirs = os.read(reader, 65536).decode().split()
assert len(theirs) == 300
sys.exit(bool(set(theirs) & set(ids.split())))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_key_gives_the_same_id_in_every_process_and_version():
    assert id_from_key("order-7") == "4c9653d9c6ce4912efab3a26f3f8dff8" != id_from_key("order-8")
    code = "from costscope.ledger import id_from_key; print(id_from_key('1:order-7'))"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert other.stdout.strip() == id_from_key("1:order-7")


def test_any_text_is_a_key():
    keys = ["", "é", "e\u0301", "\ud800", "\x00", "a" * 10_000, "😀"]
    assert len({id_from_key(key) for key in keys}) == len(keys)
