"""The command itself: version, help, errors in one line, the missing extra."""

import subprocess
import sys


def test_version_names_the_package_and_its_version(costscope):
    from costscope import __version__

    assert costscope("--version") == (0, f"costscope {__version__}\n", "")


def test_without_a_command_it_shows_help_and_exits_with_2(costscope):
    done = costscope()
    assert done.code == 2
    for command in ("demo", "status", "check", "audit"):
        assert command in done.out + done.err


def test_without_the_extra_it_says_what_to_install(environment):
    code = "import sys; sys.modules['typer'] = None; import costscope.cli; costscope.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "costscope: the command line needs typer: pip install 'costscope[cli]'\n"


def test_a_broken_installation_is_not_taken_for_a_missing_extra(environment):
    code = "import sys; sys.modules['msgspec'] = None; import costscope.cli; costscope.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert "msgspec" in done.stderr


def test_reading_commands_want_a_store(costscope):
    for command in ("status", "audit"):
        done = costscope(command)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("costscope: no store is named")
        assert done.err.count("\n") == 1


def test_memory_cannot_be_looked_at_from_outside(costscope):
    done = costscope("status", "--store", "memory://")
    assert done.code == 2
    assert "inside the process" in done.err


def test_a_misspelt_embedded_folder_is_not_created(costscope, tmp_path):
    folder = tmp_path / "no-such"
    done = costscope("status", "--store", f"embedded://{folder}")
    assert done.code == 2
    assert "no such folder" in done.err
    assert not folder.exists()


def test_a_store_that_cannot_be_reached_is_one_line_and_2(costscope):
    for command in ("status", "audit", "demo"):
        done = costscope(command, "--store", "valkey://127.0.0.1:1/0")
        assert (done.code, done.out) == (2, ""), command
        assert done.err.startswith("costscope: valkey://127.0.0.1:1/0")
        assert done.err.count("\n") == 1


def test_an_unknown_scheme_is_one_line_and_2(costscope):
    done = costscope("audit", "--store", "postgres://here")
    assert done.code == 2
    assert "memory://" in done.err
    assert "Traceback" not in done.err


def test_a_warning_of_the_store_is_one_line(costscope, valkey_server_factory):
    server = valkey_server_factory(tcp=True, appendonly="no")
    done = costscope("status", "--store", server.tcp_url, PYTHONWARNINGS="default")
    assert done.code == 0
    assert done.err.startswith("costscope: warning: ")
    assert "appendonly" in done.err
    assert done.err.count("\n") == 1
