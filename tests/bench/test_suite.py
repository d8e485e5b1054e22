import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.prompts.prompt_set import load_prompt_set
from prefbench.bench.suite import SUITES, load_suite, parse_suite, suite_text, with_limit

GOOD = """name = "x"
prompts = ["partiprompts"]
seeds = [0]
[sampling]
steps = 2
guidance = 2
[electorate]
voters = ["pickscore"]
"""


@pytest.mark.parametrize("name", SUITES)
def test_built_in_suite_bears_its_name_and_survives_writing(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert parse_suite(suite_text(suite), where="copy") == suite


def test_published_suites_draw_as_methods_4_3_says() -> None:
    for name in ("partiprompts", "hpdv2"):
        suite = load_suite(name)
        assert (suite.sampling.steps, suite.sampling.guidance) == (50, 7.5)
        assert suite.electorate.voters == [
            "pickscore", "hpsv2.1", "imagereward", "clip:openai-vit-l-14:cos", "aesthetic.v2",
        ]  # fmt: skip


def test_the_known_truth_never_votes() -> None:
    for name in ("miniature", "smoke"):
        electorate = load_suite(name).electorate
        assert electorate.held_out == ["mini:truth"]
        assert len(electorate.voters) == 5
    assert (load_suite("miniature").limit, load_suite("smoke").limit) == (200, 8)


def test_every_scorer_of_a_built_in_suite_is_registered() -> None:
    from prefbench.scorers.registry import TABLE

    for name in SUITES:
        assert set(load_suite(name).electorate.scorers) <= set(TABLE)


def test_resolved_suite_states_its_defaults() -> None:
    table = tomllib.loads(suite_text(parse_suite(GOOD, where="x")))
    assert table["sampling"]["scheduler"] == "pipeline default"
    assert table["sampling"]["dtype"] == "float32"
    assert table["electorate"]["held_out"] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps = 2", "stesp = 2", ["sampling.stesp", "did you mean 'steps'", "sampling.steps is missing"]),
        ("steps = 2", "steps = 0", ["sampling.steps", "given: 0"]),
        ("steps = 2", 'steps = "2"', ["sampling.steps", "given: '2'"]),
        ("guidance = 2", "guidance = nan", ["sampling.guidance"]),
        ("guidance = 2", 'guidance = 2\nscheduler = "dim"', ["sampling.scheduler", "'ddim'", "given: 'dim'"]),
        ("guidance = 2", "guidance = 2\nwidth = 64", ["sampling", "width and height"]),
        ("seeds = [0]", "seeds = []", ["seeds"]),
        ("seeds = [0]", "seeds = [0, 0]", ["a seed twice"]),
        ("seeds = [0]", "seed = [0]", ["'seed'", "did you mean 'seeds'"]),
        (
            'voters = ["pickscore"]',
            'voters = ["a"]\nheld_out = ["a"]',
            ["electorate", "a stands in it twice"],
        ),
        ('voters = ["pickscore"]', "voters = []", ["electorate.voters"]),
        ('name = "x"', 'name = "x', ["not valid TOML"]),
        ("[sampling]", "[samplign]", ["'samplign'", "did you mean 'sampling'", "sampling is missing"]),
    ],
)
def test_a_faulty_suite_names_the_field_and_the_nearest_key(old: str, new: str, said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        parse_suite(GOOD.replace(old, new), where="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml")
    for part in said:
        assert part in message


def test_prompt_files_are_looked_for_beside_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    here = GOOD.replace('"partiprompts"', '"partiprompts", "p.txt", "../q.csv", "unknown"')
    (tmp_path / "sub" / "s.toml").write_text(here)
    (tmp_path / "p.txt").write_text("that of the current folder")
    monkeypatch.chdir(tmp_path)
    prompts = load_suite("sub/s.toml").prompts
    assert prompts == ["partiprompts", f"{tmp_path}/sub/p.txt", f"{tmp_path}/q.csv", "unknown"]
    with pytest.raises(DataError, match=f"{tmp_path}/sub/p.txt does not exist"):
        load_prompt_set(prompts[1])


def test_unknown_suite_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'miniature'"):
        load_suite("minature")
    with pytest.raises(UsageError, match="no suite file"):
        load_suite(str(tmp_path / "none.toml"))


def test_suite_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(GOOD.replace('"x"', '"ü"').encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        load_suite(str(path))


def test_limit_replaces_the_suites_own() -> None:
    suite = load_suite("miniature")
    assert with_limit(suite, None) is suite
    assert with_limit(suite, 3).limit == 3
    with pytest.raises(UsageError, match="limit is 0"):
        with_limit(suite, 0)


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, unique=True),
    guidance=st.floats(0, 1e300),
)
def test_any_suite_survives_writing(name: str, seeds: list[int], guidance: float) -> None:
    suite = load_suite("smoke")
    sampling = suite.sampling.model_copy(update={"guidance": guidance, "negative_prompt": name})
    suite = suite.model_copy(update={"name": name, "seeds": seeds, "sampling": sampling})
    assert parse_suite(suite_text(suite), where="copy") == suite
