"""Which faces are for training and which for validation."""

from prepare_folders import (
    make_input,
    prepare,
    reasons,
    records,
    split_of,
)

from ganimation_jax.prepare.splits import SplitRule


def test_split_by_lists(tmp_path):
    make_input(tmp_path)
    (tmp_path / "test.csv").write_text("001.jpg\n\n003\n777.jpg\n")
    assert prepare(tmp_path, "--test-ids", tmp_path / "test.csv") == 0
    assert [key for key, split in split_of(tmp_path).items() if split == "test"] == ["001", "003"]
    assert reasons(tmp_path) == {"777": "listed id without picture"}

    (tmp_path / "train.csv").write_text("000.jpg\r\n002.jpg\r\n")
    lists = ("--test-ids", tmp_path / "test.csv", "--train-ids", tmp_path / "train.csv")
    assert prepare(tmp_path, *lists) == 0
    assert split_of(tmp_path) == {"000": "train", "001": "test", "002": "train", "003": "test"}
    assert reasons(tmp_path)["004.jpg"] == "in neither list of ids"

    (tmp_path / "train.csv").write_text("001.jpg\n")
    assert prepare(tmp_path, *lists) == 2


def test_split_by_person(tmp_path, capsys):
    make_input(tmp_path, count=40)
    people = {f"{number:03d}": f"person {number % 10}" for number in range(40)}
    lines = ["id, person", *(f"{key}.jpg, {person}" for key, person in people.items())]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    assert prepare(tmp_path, "--people", tmp_path / "people.csv", "--test-fraction", 0.4) == 0
    by_split = {"train": set(), "test": set()}
    for key, split in split_of(tmp_path).items():
        by_split[split].add(people[key])
    assert by_split["train"]
    assert by_split["test"]
    assert not by_split["train"] & by_split["test"]
    assert records(tmp_path / "out")["007"]["person"] == "person 7"

    (tmp_path / "test.csv").write_text("000\n")
    lists = ("--people", tmp_path / "people.csv", "--test-ids", tmp_path / "test.csv")
    assert prepare(tmp_path, *lists) == 0
    assert "warning: 1 people are in both splits" in capsys.readouterr().out


def test_split_by_hash_is_stable_and_about_a_tenth():
    rule = SplitRule(None, None, {}, 0.1)
    sides = {str(number): rule.split(str(number)) for number in range(5000)}
    assert 400 < list(sides.values()).count("test") < 600
    # By hand (printf 9 | sha256sum gives 19581e27 ..., and 0x19 / 256 is .098), for
    # another hash would move faces between the splits of existing datasets.
    assert [key for key in map(str, range(10)) if sides[key] == "test"] == ["9"]
