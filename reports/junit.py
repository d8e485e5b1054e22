"""A gate as JUnit XML: one case a rule, for the test views of CI servers.

A rule that fails is a `<failure>`. One that is inconclusive is an `<error>`: "it could not be established" is what the format
means by it, and no view shows it green. The other candidate, `<skipped>`, counts as no harm (GitLab once showed it as passed: its
issue 29032), and a release that nobody could judge would look like one that was judged good.

GitLab tells cases apart by classname and name, and shows the element's text and not its `message` (gitlab-foss issue 53668);
Jenkins shows both. So names differ, and the text says everything.
"""

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from prefbench.bench.gate.wording import rule_sentence

__all__ = ["CLASS_NAME", "junit_xml"]

CLASS_NAME = "prefbench.gate"

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no form for, not even an escaped one."""

ELEMENTS = {"fail": "failure", "inconclusive": "error"}


def junit_xml(report: Mapping[str, Any]) -> str:
    """The text of junit.xml.

    Args:
        report: what gate.json holds.
    """
    outcomes = [entry["outcome"] for entry in report["rules"]]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("fail")),
        "errors": str(outcomes.count("inconclusive")),
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "prefbench gate", **counts})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(f"prefbench gate: {report['candidate']} against {report['baseline']}"),
            **counts,
            "skipped": "0",
            "timestamp": report["created"].partition("+")[0],
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("outcome", "sentence", "candidate", "baseline", "alpha", "prompts", "pairs", "prefbench"):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(str(report[name]))})
    taken: set[str] = set()
    for entry in report["rules"]:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": CLASS_NAME, "name": _distinct(_clean(entry["name"]), taken), "time": "0"},
        )
        sentence = _clean(rule_sentence(entry))
        if entry["outcome"] in ELEMENTS:
            told = ElementTree.SubElement(
                case, ELEMENTS[entry["outcome"]], {"type": entry["outcome"], "message": sentence}
            )
            told.text = sentence
        else:
            ElementTree.SubElement(case, "system-out").text = sentence
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)


def _distinct(name: str, taken: set[str]) -> str:
    """The name, with a number where another case has it: names may differ in what XML cannot hold."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name} ({number})"
    taken.add(chosen)
    return chosen
