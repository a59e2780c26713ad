"""A program that ends while its server does not answer: it ends, and says nothing on stderr."""

import subprocess
import sys

import pytest
from programs import started

LEFT_BEHIND = """
import asyncio, sys
from costscope.ledger import Account, Read
from costscope_valkey import open_url

store = open_url(sys.argv[1])
asked = Read((Account("a", (("cost", 5),)),))

async def main():
    await store.aexecute((asked,))
    print("ready", flush=True)
    sys.stdin.readline()
    callers = [asyncio.ensure_future(store.aexecute((asked,))) for _ in range(40)]
    await asyncio.sleep(0)  # they are under way, and nobody waits for them

asyncio.run(main())
print("over")
"""

AT_THE_VERY_END = """
import sys
from pathlib import Path
from costscope_valkey.embedded import Reviver

class Late:  # the garbage collector finds it when the interpreter can start no thread any more
    def __init__(self):
        self.itself = self
        self.reviver = Reviver(Path(sys.argv[1]))
    def __del__(self):
        self.reviver.kick()
        print("kicked", flush=True)

late = Late()
"""


def test_requests_without_an_answer_do_not_outlive_their_loop(valkey_server_factory):
    server = valkey_server_factory(appendonly="yes")
    words = [sys.executable, "-X", "dev", "-c", LEFT_BEHIND, server.url]
    with started(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "ready\n"
        server.freeze()
        said, complaints = program.communicate("go on\n", timeout=30)
    server.thaw()
    assert (said, complaints, program.returncode) == ("over\n", "", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="embedded servers run on Linux and macOS")
def test_an_interpreter_that_is_ending_starts_no_server(tmp_path):
    words = [sys.executable, "-c", AT_THE_VERY_END, str(tmp_path / "books")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "kicked\n"
    assert not (tmp_path / "books").exists()
