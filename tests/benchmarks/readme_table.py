"""Write the README's table of speeds from pytest-benchmark's JSON.

pytest tests/benchmarks --benchmark-enable --benchmark-json=bench.json
python tests/benchmarks/readme_table.py bench.json README.md
"""

import json
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- speeds: written by tests/benchmarks/readme_table.py -->", "<!-- end of speeds -->"


def table(report: dict) -> str:
    """Markdown rows in the order of the run, under a line about the machine."""
    machine = report["machine_info"]
    lines = [
        f"Measured on {report['datetime'][:10]}: {machine['cpu'].get('count')} cores, Python {machine['python_version']}. "
        "Ratios are medians of rounds that alternate with the bare code in one run.",
        "",
        "| what | case | measured | target |",
        "|---|---|---|---|",
    ]
    for bench in report["benchmarks"]:
        info = bench["extra_info"]
        lines.append(f"| {info['what']} | {info['case']} | {info['value']} | {info['target']} |")
    return "\n".join(lines)


def main() -> None:
    """Replace what stands between the marks."""
    report, readme = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    text = readme.read_text(encoding="utf-8")
    new, found = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{table(report)}\n{END}",
        text,
        flags=re.DOTALL,
    )
    if not found:
        sys.exit(f"{readme}: no line {BEGIN}")
    readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
