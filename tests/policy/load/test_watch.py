"""A policy whose files change: taken up all or nothing, once they have held still, and said to be wrong once."""

import os
import shutil

import pytest
from config_map import mount_config_map

from costscope.errors import InvalidPolicy
from costscope.policy.load.watcher import SETTLE_S, PolicyWatcher

ONE = "budgets: [{id: a, limits: {cost: 1}}]\n"
TWO = "budgets: [{id: a, limits: {cost: 2}}]\n"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return lambda source: PolicyWatcher(source, clock=clock)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    return path


def settled(watcher, clock):
    """What is new once the files have held still."""
    assert watcher.take_change() is None
    assert watcher.unsettled
    clock.now += SETTLE_S
    return watcher.take_change()


def limit(policy):
    return policy.budgets[0].limits["cost"]


def test_nothing_changes_while_nothing_does(watch, file, clock):
    watcher = watch(file)
    for _ in range(3):
        assert watcher.take_change() is None
        assert not watcher.unsettled
        clock.now += 10
    assert limit(watcher.policy) == 1


def test_a_new_version_counts_once_it_has_held_still(watch, file, clock):
    watcher = watch(file)
    file.write_text("budgets: [{id: a,")  # an editor that has not finished yet
    assert watcher.take_change() is None
    clock.now += SETTLE_S / 2
    file.write_text(TWO)
    assert watcher.take_change() is None  # it moved again: the time starts anew
    clock.now += SETTLE_S / 2
    assert watcher.take_change() is None
    assert limit(watcher.policy) == 1
    clock.now += SETTLE_S / 2
    assert limit(watcher.take_change()) == 2
    assert limit(watcher.policy) == 2
    assert watcher.take_change() is None


def test_a_wrong_version_is_said_to_be_so_once_and_the_old_one_stays(watch, file, clock):
    watcher = watch(file)
    file.write_text(TWO.replace("cost: 2", "cots: 2"))
    with pytest.raises(InvalidPolicy, match="did you mean cost"):
        settled(watcher, clock)
    for _ in range(3):
        clock.now += 10
        assert watcher.take_change() is None
    assert limit(watcher.policy) == 1
    file.write_text(TWO)
    assert limit(settled(watcher, clock)) == 2


def test_the_same_mistake_saved_again_is_not_said_again(watch, file, clock):
    watcher = watch(file)
    file.write_text("nonsense: 1\n")
    with pytest.raises(InvalidPolicy):
        settled(watcher, clock)
    os.utime(file, (1, 1))
    assert settled(watcher, clock) is None
    file.write_text("other nonsense: 1\n")
    with pytest.raises(InvalidPolicy):
        settled(watcher, clock)


def test_a_file_that_was_only_touched_is_no_new_policy(watch, file, clock):
    watcher = watch(file)
    os.utime(file, (1, 1))
    assert settled(watcher, clock) is None
    assert not watcher.unsettled


def test_a_change_that_sets_the_time_of_change_back_is_seen(watch, file, clock, tmp_path):
    """`cp -p` and some deployments keep the time of the original."""
    watcher, before = watch(file), file.stat()
    file.write_text(TWO)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert limit(settled(watcher, clock)) == 2


def test_a_file_that_is_gone_leaves_the_policy_in_force(watch, file, clock):
    watcher = watch(file)
    file.unlink()
    with pytest.raises(InvalidPolicy, match="cannot be read"):
        settled(watcher, clock)
    assert limit(watcher.policy) == 1
    file.write_text(ONE)
    assert settled(watcher, clock) is None  # back as it was
    file.write_text(TWO)
    assert limit(settled(watcher, clock)) == 2


def test_of_a_folder_every_file_counts_and_all_or_nothing(watch, file, clock, tmp_path):
    watcher = watch(tmp_path)
    (tmp_path / "q.yaml").write_text("budgets: [{id: b, limits: {cost: 3}}]\n")
    assert [one.id for one in settled(watcher, clock).budgets] == ["a", "b"]
    file.write_text(TWO)
    (tmp_path / "q.yaml").write_text("budgets: [{id: b, limits: {cots: 3}}]\n")
    with pytest.raises(InvalidPolicy, match=r"q\.yaml:1"):
        settled(watcher, clock)
    assert [limit(watcher.policy), len(watcher.policy.budgets)] == [1, 2]
    (tmp_path / "q.yaml").unlink()
    assert [(one.id, one.limits) for one in settled(watcher, clock).budgets] == [("a", {"cost": 2})]


def test_links_that_are_moved_to_another_version_are_seen(watch, clock, tmp_path):
    mount_config_map(tmp_path, "v1", ONE)
    watcher = watch(tmp_path)
    mount_config_map(tmp_path, "v2", TWO)
    assert limit(settled(watcher, clock)) == 2
    mount_config_map(tmp_path, "v3", TWO)
    assert settled(watcher, clock) is None  # another file with the same in it


def test_a_file_replaced_while_it_is_read_is_not_believed(watch, file, clock, monkeypatch):
    from costscope.policy.load import watcher as module

    watcher = watch(file)
    file.write_text(TWO)
    assert watcher.take_change() is None
    clock.now += SETTLE_S
    reading = module.read_source

    def read_and_replace(source):
        snapshot = reading(source)
        file.write_text(ONE.replace("cost: 1", "cost: 33"))
        return snapshot

    monkeypatch.setattr(module, "read_source", read_and_replace)
    assert watcher.take_change() is None
    assert limit(watcher.policy) == 1
    monkeypatch.undo()
    assert limit(settled(watcher, clock)) == 33


def test_a_folder_that_is_gone_is_said_once(watch, file, clock, tmp_path):
    watcher = watch(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(InvalidPolicy):
        settled(watcher, clock)
    assert watcher.take_change() is None


def test_there_must_be_a_policy_to_begin_with(watch, tmp_path):
    with pytest.raises(InvalidPolicy):
        watch(tmp_path / "none.yaml")


def test_the_environment_changes_only_with_the_file_it_names(watch, file, clock, monkeypatch):
    assert not watch("env:").can_change
    monkeypatch.setenv("COSTSCOPE_POLICY", str(file))
    watcher = watch("env:")
    assert watcher.can_change
    file.write_text(TWO)
    assert limit(settled(watcher, clock)) == 2
