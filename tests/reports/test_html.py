"""The file itself: complete, safe, self-contained, the same every time."""

import base64
import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefbench.reports.html as html_module
from prefbench.bench.exceptions import DataError
from prefbench.reports.html import json_for_script, write_report


def _page_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_page", Path(__file__).with_name("page.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = _page_module()
NASTY = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!-- <script> -->",
    "\"quotes\" & 'apostrophes' & ampersands &lt;",
    "a dragon 🐉 with a family 👩‍👩‍👧",
    "قطة تحت المطر",
    "{{ 7 * 7 }} {% raw %}",
    "line\u2028separator",
]


@pytest.fixture(scope="module")
def written(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        example.results, example.scores, tmp_path_factory.mktemp("r") / "r.html", example.images
    )


@pytest.fixture(scope="module")
def page(written: Path) -> Any:
    return PAGE.parse(written.read_text(encoding="utf-8"))


def cells(row: Any) -> list[str]:
    return [child.text for child in row.children if not isinstance(child, str)]


def test_every_number_of_every_comparison_is_in_the_table(page: Any, example: Any) -> None:
    table = PAGE.by_id(page, "comparisons")
    header, *rows = (cells(row) for row in table.find("tr"))
    assert len(rows) == len(example.results["comparisons"])
    for shown, row in zip(rows, example.results["comparisons"], strict=True):
        record = dict(zip(header, shown, strict=True))
        flat = row | {"ci95_low": (row["ci95"] or [None])[0], "ci95_high": (row["ci95"] or [None])[-1]}
        mean = row["mean_difference_ci95"] or [None]
        flat |= {"mean_difference_ci95_low": mean[0], "mean_difference_ci95_high": mean[-1]}
        for name, text in record.items():
            value = flat[name]
            if isinstance(value, str):
                assert text == value
            elif isinstance(value, bool):
                assert text == str(value).lower()
            elif value is None:
                assert text == ""
            else:
                assert float(text) == pytest.approx(value, rel=1e-5)


def test_every_card_shows_every_scorer_with_rate_and_interval(page: Any, example: Any) -> None:
    cards = PAGE.by_id(page, "verdicts").find("article")
    assert len(cards) == 2
    for name, card in zip(("sft", "dpo"), cards, strict=True):
        rows = {cells(row)[0].split(" ")[0]: cells(row) for row in card.find("tr")[1:]}
        for row in example.results["comparisons"]:
            if (row["a"], row["b"], row["slice"]) != (name, "base", "all"):
                continue
            shown = rows["Majority" if row["scorer"] == "majority" else row["scorer"]][2]
            rate, interval = shown.split(" ")
            assert rate == f"{100 * row['win_rate']:.1f}"
            low, high = (float(bound) for bound in interval.split("–"))
            assert [low, high] == pytest.approx([100 * bound for bound in row["ci95"]], abs=0.051)


def test_matrix_gives_each_pair_both_ways(page: Any, example: Any) -> None:
    rows = PAGE.by_id(page, "everyone").find("tbody")[0].find("tr")
    names = list(example.results["checkpoints"])
    rates = {
        (row["a"], row["b"]): row["win_rate"]
        for row in example.results["comparisons"]
        if row["scorer"] == "majority" and row["slice"] == "all"
    }
    for a, row in zip(names, rows, strict=True):
        for b, cell in zip(names, row.find("td"), strict=True):
            if a == b:
                assert cell.text == "–"
            else:
                rate = rates[a, b] if (a, b) in rates else 1 - rates[b, a]
                assert cell.find("b")[0].text == f"{100 * rate:.1f}"


def test_marks_differ_by_role_and_held_out_scorers_stand_apart(page: Any) -> None:
    card = PAGE.by_id(page, "verdicts").find("article")[0]
    vote, voters, held = card.find("tbody")
    assert len(vote.find("svg", class_="diamond")) == 1
    assert len(voters.find("svg", class_="dot")) == 3
    assert len(held.find("svg", class_="ring")) == 1
    assert "held" in held.attributes["class"].split()
    assert [tag.text for tag in voters.find("small")] == ["prompt-blind"]


def test_agreement_of_every_two_scorers_is_in_its_cell(page: Any, example: Any) -> None:
    agreement = example.results["agreement"]
    rows = PAGE.by_id(page, "judges").find("tbody")[0].find("tr")
    for i, row in enumerate(rows):
        shown = [cell.text for cell in row.find("td")]
        assert shown == [
            "–" if i == j else f"{100 * share:.0f}" for j, share in enumerate(agreement["same_winner"][i])
        ]
    worth = f"worth {agreement['effective_voters']:.1f} independent"
    assert worth in PAGE.by_id(page, "judges").find("p")[0].text


def test_every_warning_is_listed(page: Any, example: Any) -> None:
    listed = [item.text for item in PAGE.by_id(page, "warnings").find("li")]
    assert listed == [warning["text"] for warning in example.results["warnings"]]
    assert listed


def test_means_are_shown_with_the_difference_to_the_baseline(page: Any, example: Any) -> None:
    table = PAGE.by_id(page, "numbers").find("table")[0]
    names = [cell.text for cell in table.find("th", scope="col")][1:]
    for row in table.find("tbody")[0].find("tr"):
        checkpoint = row.find("th")[0].text
        for scorer, cell in zip(names, row.find("td"), strict=True):
            number = float(cell.children[0].replace("\u2212", "-"))
            assert number == pytest.approx(example.results["means"][checkpoint][scorer], abs=0.051)
            assert len(cell.find("small")) == (0 if checkpoint == "base" else 2)


def test_slices_show_rate_interval_and_prompts(page: Any, example: Any) -> None:
    cards = PAGE.by_id(page, "slices").find("details")
    stored = {
        (row["a"], row["slice"]): row
        for row in example.results["comparisons"]
        if row["scorer"] == "majority" and row["b"] == "base"
    }
    assert len(cards) == 2
    for name, card in zip(("sft", "dpo"), cards, strict=True):
        rows = {cells(row)[0]: cells(row) for row in card.find("tr", class_="slice")}
        assert set(rows) == {"people", "places"}
        for label, shown in rows.items():
            row = stored[name, f"category={label}"]
            assert shown[2].split(" ")[0] == f"{100 * row['win_rate']:.1f}"
            assert shown[2].endswith("†") == (row["ci_method"] == "exact")
            assert shown[3] == str(row["prompts"])


def test_provenance_is_printed_in_full(example_of: Callable[..., Any], tmp_path: Path) -> None:
    digest = hashlib.sha256(b"scorer").hexdigest()
    card = {
        "method": "diffusion_dpo",
        "kappa": 250.0,
        "steps": 150,
        "data": {"name": "miniature", "pairs": 3000},
    }
    info = {
        "fingerprint": digest,
        "prompt_blind": False,
        "token_limit": 77,
        "truncated": 3,
        "trained_on": "HPDv2",
    }
    run = example_of(
        checkpoints=("base", "dpo"), infos={"clip": info}, qualities={"clip": [0, 1], "truth": [0, 1]}
    )
    run.results["checkpoints"]["dpo"] |= {"identity": digest, "training": card}
    page = PAGE.parse(write_report(run.results, run.scores, tmp_path / "r.html").read_text(encoding="utf-8"))
    section = PAGE.by_id(page, "record")
    assert [code.text for code in section.find("code")].count(digest) == 2
    scorer = section.find("table")[0].find("tbody")[0].find("tr")[0].text
    assert "77 tokens; 3 prompts truncated" in scorer
    assert "HPDv2" in scorer
    entries = {
        d.find("dt")[0].text: d.find("dd")[0].text
        for d in section.find("div")
        if d.find("dt")[1:] == [] and d.find("dt")
    }
    assert (entries["method"], entries["kappa"], entries["steps"]) == ("diffusion_dpo", "250", "150")
    assert (entries["pairs"], entries["data.name"]) == ("3000", "miniature")


def test_nothing_is_loaded_from_anywhere(page: Any, written: Path) -> None:
    for element in page.everything():
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = element.attributes.get(name) or ""
            assert value == "" or value.startswith("#"), f"{element.tag} {name}={value}"
        assert element.tag not in ("link", "iframe", "object", "embed", "base")
    style = page.find("style")[0].text
    assert "url(" not in style
    assert "@import" not in style


def test_policy_allows_exactly_the_inlined_code(page: Any) -> None:
    policy = next(
        meta.attributes["content"]
        for meta in page.find("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = [s for s in page.find("script") if s.attributes.get("type") != "application/json"]
    for rule, element in (("style-src", page.find("style")[0]), ("script-src", code[0])):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert len(code) == len(page.find("style")) == 1
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_no_element_carries_its_own_style_or_handler(page: Any) -> None:
    """The policy would block them; they must not be there to be blocked."""
    for element in page.everything():
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]


def test_templates_never_switch_escaping_off() -> None:
    templates = sorted((Path(html_module.__file__).parent / "templates").glob("*"))
    assert len(templates) > 3
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe|autoescape|Markup", text), path.name


@pytest.mark.parametrize("text", NASTY)
def test_text_from_outside_is_shown_and_never_markup(
    text: str, example_of: Callable[..., Any], tmp_path: Path
) -> None:
    run = example_of(
        checkpoints=("base", text),
        prompts=[text, "plain"],
        qualities={text + " scorer": [0.0, 1.0], "clip": [0.0, 1.0]},
        held_out=("clip",),
    )
    run.scores["category"] = run.scores["category"].replace("people", text)
    run.results["checkpoints"][text]["training"] = {"method": text}
    out = write_report(run.results, run.scores, tmp_path / "r.html")
    page = PAGE.parse(out.read_text(encoding="utf-8"))
    assert len(page.find("script")) == 2
    assert not [e for e in page.find("script") if "alert" in e.text and e.attributes.get("type") is None]
    data = PAGE.data_of(page)
    assert data["units"][0]["prompt"] == text
    assert data["checkpoints"] == ["base", text]
    assert text in page.find("h1")[0].text + page.text


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_block_cannot_be_left_and_reads_back(value: Any) -> None:
    block = str(json_for_script(value))
    assert not set("<>&\u2028\u2029") & set(block)
    assert json.loads(block) == value


def test_json_block_refuses_numbers_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_script({"score": float("nan")})


def test_the_same_run_gives_the_same_bytes(example: Any, written: Path, tmp_path: Path) -> None:
    again = write_report(example.results, example.scores, tmp_path / "again.html", example.images)
    assert again.read_bytes() == written.read_bytes()


def test_the_page_is_the_same_from_kept_templates_and_where_none_can_be_kept(
    example: Any, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "again"):  # compiled and kept, then read back
        monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
        again = write_report(example.results, example.scores, tmp_path / f"{name}.html", example.images)
        assert again.read_bytes() == written.read_bytes()
    assert any((tmp_path / "cache" / "templates").iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "file"))
    nowhere = write_report(example.results, example.scores, tmp_path / "nowhere.html", example.images)
    assert nowhere.read_bytes() == written.read_bytes()


def test_a_failed_report_leaves_no_file(example_of: Callable[..., Any], tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    run = example_of(pictures, prompts=["a", "b"])
    (pictures / "0-0.png").unlink()
    with pytest.raises(DataError):
        write_report(run.results, run.scores, tmp_path / "out" / "r.html", run.images)
    assert not (tmp_path / "out").exists()


def test_ids_are_unique_and_every_link_leads_somewhere(page: Any) -> None:
    ids = [e.attributes["id"] for e in page.everything() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for link in page.find("a"):
        target = link.attributes.get("href")
        assert target is None or target[1:] in ids


def test_headings_and_tables_can_be_read_aloud(page: Any) -> None:
    assert page.find("html")[0].attributes["lang"] == "en"
    levels = [int(e.tag[1]) for e in page.everything() if re.fullmatch("h[1-6]", e.tag)]
    assert levels.count(1) == 1
    for table in page.find("table"):
        assert all("scope" in th.attributes for th in table.find("th"))
    for svg in page.find("svg", class_="lines"):
        assert svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") == "true"


def test_methods_paragraph_states_the_run(page: Any, example: Any) -> None:
    text = page.find("div", class_="paste")[0].text
    assert "3 checkpoints (base, sft and dpo) on 24 prompts" in text
    assert "Three scorers (pick, clip and looks)" in text
    assert "Held out, reported and without a vote: truth." in text
    assert "looks does not read the prompt." in text
    assert "1,000 resamples, seed 0" in text
    assert example.results["prefbench"] in text
