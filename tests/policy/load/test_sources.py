"""Where a policy is read from: one file, the files of a folder as one policy, whatever else lies beside them."""

import os

import pytest
from config_map import mount_config_map

from costscope.errors import InvalidPolicy
from costscope.policy.load.document import MAX_BYTES
from costscope.policy.load.loader import load_policy
from costscope.policy.load.sources import policy_paths, read_source


def write(folder, **files):
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


def test_a_folder_is_one_policy_in_any_of_the_formats(tmp_path):
    found = load_policy(
        write(
            tmp_path,
            b_yaml="budgets: [{id: b, limits: {cost: 1}}]\ncurrency: EUR\nwebhooks: {x: {url: 'https://x.example', secret_env: X}}",
            a_yml="budgets: [{id: a, limits: {cost: 1}, thresholds: [{at: 50, actions: [{webhook: y}]}]}]\nprices: {models: {m: {input: 1}}}",
            c_toml='[[budgets]]\nid = "c"\nlimits = {cost = 1}\n[prices.models.n]\ninput = 1\n[webhooks.y]\nurl = "https://y.example"\nsecret_env = "Y"\n',
            routing_yaml="routing_policies: [{id: r, stages: [{default_model: m}]}]",
        )
    )
    assert [one.id for one in found.budgets] == ["a", "b", "c"]
    assert (found.currency, list(found.prices.models)) == ("EUR", ["m", "n"])
    assert sorted(found.webhooks) == ["x", "y"]
    assert [one.id for one in found.routing] == ["r"]


def test_the_order_of_files_is_that_of_their_names_whatever_the_disk_says(tmp_path):
    for name in ("10-b.yaml", "2-a.yaml", "05-c.yaml"):
        (tmp_path / name).write_text(f"budgets: [{{id: '{name[:-5]}', limits: {{cost: 1}}}}]")
    assert [one.id for one in load_policy(tmp_path).budgets] == ["05-c", "10-b", "2-a"]


def test_what_lies_beside_the_files_is_left_alone(tmp_path):
    write(tmp_path, a_yaml="budgets: [{id: a, limits: {cost: 1}}]", README_md="no policy")
    for name in (".hidden.yaml", "a.yaml~", ".#a.yaml", "#a.yaml#", "a.yaml.swp", "a.bak"):
        (tmp_path / name).write_text("this: [is no policy")
    (tmp_path / "sub.yaml").mkdir()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "x.yaml").write_text("this: [is no policy")
    assert [path.name for path in policy_paths(tmp_path)] == ["a.yaml"]
    assert len(load_policy(tmp_path).budgets) == 1


def test_a_folder_as_kubernetes_mounts_it_is_read_once(tmp_path):
    """Links in the folder lead through `..data` into a hidden folder with a date for a name."""
    mount_config_map(tmp_path, "v1", "budgets: [{id: a, limits: {cost: 1}}]")
    assert [path.name for path in policy_paths(tmp_path)] == ["budgets.yaml"]
    assert len(load_policy(tmp_path).budgets) == 1


def test_an_error_names_the_file_of_the_folder_and_the_place_in_it(tmp_path):
    write(
        tmp_path,
        a_yaml="budgets:\n  - {id: a, limits: {cost: 1}}",
        b_yaml="budgets:\n  - {id: b, limits: {cost: 1}}\n  - {id: c, limits: {cots: 1}}\n",
    )
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(tmp_path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "b.yaml"), 3)
    assert caught.value.path == "$.budgets[1].limits.cots"


def test_a_budget_of_two_files_is_refused_and_both_are_named(tmp_path):
    write(
        tmp_path,
        a_yaml="budgets:\n- id: x\n  limits: {cost: 1}",
        b_yaml="budgets:\n- id: x\n  limits: {cost: 2}",
    )
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(tmp_path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "b.yaml"), 2)
    assert f"{tmp_path / 'a.yaml'}:2" in caught.value.problem


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("currency: EUR", "currency: USD", "$.currency"),
        ("unscoped: allow", "unscoped: deny", "$.unscoped"),
        ("runaway: true", "runaway: {failures: 5}", "$.runaway"),
        ("prices: {models: {m: {input: 1}}}", "prices: {models: {m: {input: 2}}}", "$.prices.models.m"),
        ("prices: {tools: {t: 1}}", "prices: {tools: {t: 2}}", "$.prices.tools.t"),
        (
            "webhooks: {x: {url: 'https://x.example', secret_env: X}}",
            "webhooks: {x: {url: 'https://x.example', secret_env: Y}}",
            "$.webhooks.x",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, first, second, path):
    write(tmp_path, a_yaml=first, b_yaml=second)
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(tmp_path)
    assert (caught.value.file, caught.value.path) == (str(tmp_path / "b.yaml"), path)
    assert f"{tmp_path / 'a.yaml'}:1 says otherwise" in caught.value.problem
    write(tmp_path, b_yaml=first)
    load_policy(tmp_path)  # the same twice is no contradiction


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no .yaml, .yml or .toml file"),
        ({f"f{number:03d}_yaml": "" for number in range(257)}, "257 policy files, the limit is 256"),
        ({"large_yaml": "#" * (MAX_BYTES + 1)}, "larger than 256 KiB"),
        ({"list_yaml": "[1]"}, "expected a mapping"),
    ],
)
def test_folders_that_are_no_policy(tmp_path, files, words):
    with pytest.raises(InvalidPolicy, match=words):
        load_policy(write(tmp_path, **files))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(InvalidPolicy, match="not a regular file"):
        load_policy(tmp_path / "p.yaml")


def test_the_environment_names_a_file_or_folder(tmp_path):
    write(tmp_path, a_yaml="currency: EUR")
    assert [path.name for path, _ in read_source("env:", {"COSTSCOPE_POLICY": str(tmp_path)}).files] == [
        "a.yaml"
    ]
    assert read_source("env:", {}).files == ()
    assert read_source("env:", {"COSTSCOPE_POLICY": "env:"}).files == ()
