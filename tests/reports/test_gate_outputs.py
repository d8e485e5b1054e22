"""A gate's JUnit and Markdown: read back by parsers, with names that want to be something else."""

import json
import re
from xml.etree import ElementTree

import pytest

from prefbench.reports.gate_markdown import code, gate_markdown
from prefbench.reports.junit import junit_xml

HOSTILE = "a|b` </td><script>alert(1)</script> @someone #12 [x](http://y) \x00\x1b[31m\ufffe\u2028 \"&']]>"

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {
        *(
            "name",
            "tests",
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        ),
    },
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "assertions", "time", "classname", "status"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "system-out": set(),
}
"""Of the schema of Jenkins' xUnit plug-in (jenkins-junit.xsd), as far as we use its elements."""

REQUIRED = {
    "testsuite": {"name", "tests"},
    "testcase": {"name", "classname"},
    "property": {"name", "value"},
}
CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase"],
    "properties": ["property"],
    "testcase": ["error", "failure", "system-out"],
}


def entry(outcome="pass", name="non_inferiority majority margin 0.03", **fields):
    return {
        "name": name,
        "kind": "non_inferiority",
        "scorer": "majority",
        "slice": "all",
        "quantity": "win rate",
        "outcome": outcome,
        "prompts": 100,
        "pairs": 200,
        "p_value": 0.012,
        "p_value_fail": 0.97,
        "p_adjusted": None,
        "needed": {"prompts": 200, "more_prompts": 100, "seeds": None, "text": "About 200 prompts decide."}
        if outcome == "inconclusive"
        else None,
        "note": None,
        "shown": {"estimate": "52.0 % [48.0, 56.0]", "threshold": "> 47 %"},
    } | fields


def report(*entries, outcome="fail", **fields):
    return {
        "outcome": outcome,
        "mode": "fixed",
        "sentence": "A sentence.",
        "candidate": "mine",
        "baseline": "base",
        "created": "2026-11-22T05:00:00+00:00",
        "prefbench": "0.1.0",
        "alpha": 0.05,
        "prompts": 100,
        "pairs": 200,
        "electorate": {"voters": ["one"]},
        "errors": {"wrong_pass": 0.025, "wrong_fail": 0.05, "not_bounded": [], "planned_slices": 0},
        "rules": list(entries),
        "worst": [],
        "warnings": [],
        "remarks": [],
    } | fields


def check_shape(element):
    """Elements, attributes and order of children as the schema has them."""
    assert element.attrib.keys() <= ATTRIBUTES[element.tag], element.attrib
    assert element.attrib.keys() >= REQUIRED.get(element.tag, set())
    places = [CHILDREN[element.tag].index(child.tag) for child in element]
    assert places == sorted(places)
    for child in element:
        check_shape(child)


def test_junit_counts_a_failure_and_an_error_and_has_the_schema_s_shape():
    root = ElementTree.fromstring(
        junit_xml(report(entry(), entry("fail", "b"), entry("inconclusive", "c"), entry("inconclusive", "d")))
    )
    check_shape(root)
    (suite,) = root
    for element in (root, suite):
        assert [element.get(key) for key in ("tests", "failures", "errors")] == ["4", "1", "2"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp")), (
        "the schema knows no time zone"
    )
    kinds = {case.get("name"): [child.tag for child in case] for case in suite.findall("testcase")}
    assert kinds == {
        "non_inferiority majority margin 0.03": ["system-out"],
        "b": ["failure"],
        "c": ["error"],
        "d": ["error"],
    }
    (error, _) = suite.findall("testcase/error")
    assert error.get("type") == "inconclusive"
    assert "About 200 prompts decide." in error.text
    assert "52.0 % [48.0, 56.0], asked > 47 %" in error.get("message")


def test_junit_of_hostile_names_is_well_formed_and_keeps_cases_apart():
    """Two names that differ only in what XML cannot hold stay two cases: GitLab would drop the second of equal names."""
    names = [HOSTILE + "\x01", HOSTILE + "\x02"]
    text = junit_xml(
        report(*(entry("fail", name, scorer=name, note=name) for name in names), candidate=HOSTILE)
    )
    text.encode("utf-8")
    root = ElementTree.fromstring(text)
    check_shape(root)
    found = [case.get("name") for case in root.iter("testcase")]
    assert len(set(found)) == 2
    assert all(name.startswith("a|b` </td><script>alert(1)</script> @someone") for name in found)


def cells(line):
    """Cells of a table row, as GitHub splits it: at every pipe without a backslash."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_begins_with_the_verdict_and_lists_broken_rules_first():
    text = gate_markdown(report(entry(name="kept"), entry("inconclusive", "open"), entry("fail", "broken")))
    lines = text.splitlines()
    assert lines[0] == "## ❌ Gate failed: `mine` against `base`"
    assert "Of 3 rules: 1 broken, 1 open, 1 kept." in lines[2]
    rows = [cells(line) for line in lines if line.startswith("| ") and "`" in line]
    assert [row[1] for row in rows] == ["`broken`", "`open`", "`kept`"]
    assert {len(row) for row in rows} == {6}
    assert rows[2][2:] == ["52.0 % [48.0, 56.0]", "&gt; 47 %", "0.012", "100"]
    assert rows[0][4] == "0.970", "of a broken rule, the p-value that speaks against it"
    assert "- `open`: About 200 prompts decide." in text
    assert (
        'p: one-sided, of "the rule is broken"; of a failed one, of "the rule is kept"; cut-off alpha/2 = 0.025.'
        in lines[-1]
    )


def test_no_name_becomes_markup_a_mention_or_a_row():
    text = gate_markdown(
        report(
            entry("fail", HOSTILE, note=f"The note names {HOSTILE}."),
            candidate=HOSTILE,
            worst=[
                {
                    "prompt": HOSTILE,
                    "seed": 0,
                    "seeds": 2,
                    "pictures": {"candidate": "pictures/1-candidate.webp"},
                }
            ],
            warnings=[{"kind": "x", "text": f"{HOSTILE} warns."}],
            remarks=[HOSTILE],
        )
    )
    (row,) = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(cells(row)) == 6
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert "<script" not in outside
    assert "@someone" not in outside
    assert not re.search(r"(?<!\\)#12", outside)
    assert re.findall(r"(?<!\\)\]\(([^)]*)\)", outside) == ["pictures/1-candidate.webp"], (
        "no link but the thumbnail's"
    )
    assert "\x00" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("text", ["`", "``a`", "a``", " ", "\n", "\\", "a\nb", "|"])
def test_a_code_span_is_one_line_and_closed(text):
    span = code(text)
    fence = re.match("`+", span).group()
    assert "\n" not in span
    assert span.endswith(fence)
    assert fence not in span[len(fence) : -len(fence)]


def test_a_comment_never_grows_beyond_what_github_takes():
    """3,000 slices, 200 of them broken, with names of 300 characters each, and long warnings."""
    many = [entry("fail" if k < 200 else "pass", f"{k} " + "ö|" * 150, note="n" * 500) for k in range(3000)]
    text = gate_markdown(report(*many, warnings=[{"kind": "x", "text": "w" * 3000}] * 50))
    assert len(text.encode()) < 62_000
    assert len(text) < 65_536
    rows = [line for line in text.splitlines() if line.startswith("| ❌") or line.startswith("| ✅")]
    assert rows[0].startswith("| ❌ fail | `0 ")
    left_out = int(re.search(r"\*(\d+) more rules are in gate\.json", text).group(1))
    assert len(rows) + left_out == 3000
    assert text.rstrip().endswith("</sub>")


def test_the_fixture_has_the_keys_of_a_real_report(tmp_path):
    """What is read here is what a gate writes."""
    from gate_tables import outcomes, table

    from prefbench.bench.gate.gating import gate_release

    table([outcomes(wins=20, losses=20)]).to_csv(tmp_path / "s.csv", index=False)
    real = gate_release(tmp_path / "s.csv", "mine", "base", tmp_path / "out")
    assert report().keys() <= real.keys()
    assert entry().keys() <= real["rules"][0].keys()
    assert (tmp_path / "out" / "gate.md").read_text(encoding="utf-8") == gate_markdown(real)
    assert (tmp_path / "out" / "junit.xml").read_text(encoding="utf-8") == junit_xml(real)
    assert json.loads((tmp_path / "out" / "gate.json").read_text(encoding="utf-8")) == real
