"""The numbers of reproduce.json as a table for 80 columns, as Markdown, and as plain statements."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.bench.verdict import MAJORITY
from prefbench.bench.wording import count

__all__ = ["markdown", "print_reproduction", "statements"]

STYLES = {"beats": "green", "loses": "red", "ties": "dim"}
LEGEND = (
    "Win rate in %, ties half; [95 % interval over prompts]; lowest-highest rate of a single training seed. beats / loses: "
    "the interval leaves out 50 % and every training seed lies on that side; ties: not told apart. vote: majority of the "
    "scorers; truth: the known utility of this world, which does not vote; its mean is given for each arm. over trainings "
    "too (in the Markdown): 95 % interval over trainings and prompts."
)
CUT = "Cut down (--steps, --limit or --pairs): this run tries the machinery, its verdicts mean nothing."

Entry = Mapping[str, Any]


def print_reproduction(console: Console, results: Mapping[str, Any]) -> None:
    """Print the table and the statements of a reproduction.

    Args:
        console: 80 columns or more.
        results: what reproduce.json holds.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for header in ("arm, over", "vote", "truth"):
        table.add_column(header, no_wrap=True)
    table.add_row(Text("base", style="bold"), "", Text(_truth(results["base"]["mean_truth"])))
    for arm in results["arms"]:
        rate = Text(f"lr {arm['lr']:.1e} (x{arm['factor']:g})")
        table.add_row(Text(arm["name"], style="bold"), rate, Text(_truth(arm["mean_truth"])))
        if arm["diverged"]:
            table.add_row(Text(f"  {_diverged(arm)}", style="red"))
        for other, judges in _by_partner(arm):
            table.add_row(Text(f"  {other}"), *(_cell(entry) for entry in judges))
    console.print(Text(_title(results), style="bold"))
    console.print(table)
    if any(arm["stability"] for arm in results["arms"]):
        console.print()
        console.print(_stability_table(results))
        console.print()
    console.print(Text(LEGEND, style="dim"))
    for line in statements(results):
        console.print()
        console.print(Text(line))


def _title(results: Mapping[str, Any]) -> str:
    number = len(results["training_seeds"])
    seeds = count(number, "training seed")
    prompts = max((entry["prompts"] for arm in results["arms"] for entry in arm["comparisons"]), default=0)
    rates = "learning rates chosen on other prompts" if results["sweep"] else "the recipes' learning rates"
    return f"{count(prompts, 'prompt')}, {seeds}, {rates}"


def _diverged(arm: Mapping[str, Any]) -> str:
    number = len(arm["diverged"])
    return f"{count(number, 'training')} diverged"


def _truth(mean: float | None) -> str:
    return "no images" if mean is None else f"mean {mean:.3f}"


def _by_partner(arm: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Entry]]]:
    """(base or control, its entries: the vote's, then the held-out scorers')."""
    for other in dict.fromkeys(entry["over"] for entry in arm["comparisons"]):
        yield other, [entry for entry in arm["comparisons"] if entry["over"] == other]


def _cell(entry: Entry) -> Text:
    return Text(f"{_rate(entry, 0)} {entry['verdict']}", style=STYLES[entry["verdict"]])


def _rate(entry: Entry, digits: int) -> str:
    rates = [f"{100 * rate:.{digits}f}" for rate in sorted(entry["per_seed"].values())]
    spread = f" {rates[0]}-{rates[-1]}" if len(rates) > 1 else ""
    return f"{100 * entry['win_rate']:.{digits}f} {_interval(entry['ci95'], digits)}{spread}"


def _interval(limits: Sequence[float] | None, digits: int) -> str:
    if limits is None:
        return "[n/a]"
    return f"[{100 * limits[0]:.{digits}f}, {100 * limits[1]:.{digits}f}]"


def statements(results: Mapping[str, Any]) -> list[str]:
    """What held and what did not, by the vote and by the truth, in sentences."""
    lines = [] if results["whole"] else [CUT]
    if len(results["training_seeds"]) < 3:
        lines.append(
            "Fewer than three training seeds: the verdicts are about these checkpoints and not about the methods."
        )
    judges = [MAJORITY, *results["electorate"]["held_out"]]
    for judge in judges:
        by = "the majority vote" if judge == MAJORITY else judge
        held, failed = [], []
        for arm in results["arms"]:
            if arm["only_control"]:
                continue
            losses = [
                e["over"] for e in arm["comparisons"] if e["judge"] == judge and e["verdict"] == "loses"
            ]
            wins = [e["over"] for e in arm["comparisons"] if e["judge"] == judge and e["verdict"] == "beats"]
            if arm["diverged"]:
                failed.append(f"{arm['name']} ({_diverged(arm)})")
            elif losses:
                failed.append(f"{arm['name']} (loses to {', '.join(losses)})")
            else:
                held.append(f"{arm['name']} ({'beats ' + ', '.join(wins) if wins else 'ties all'})")
        lines.append(
            f"By {by}, {len(held)} of {len(held) + len(failed)} arms beat or tie the base and every control: "
            f"{'; '.join(held) or 'none'}."
        )
        if failed:
            lines.append(f"By {by} these do not: {'; '.join(failed)}.")
        lines += _how_much_is_proved(results, judge, by)
    return lines


def _how_much_is_proved(results: Mapping[str, Any], judge: str, by: str) -> Iterator[str]:
    """How many comparisons with a control are told apart over prompts, by the verdict, and over trainings."""
    held_against_controls = [
        entry
        for arm in results["arms"]
        for entry in arm["comparisons"]
        if entry["judge"] == judge
        and entry["over"] in arm["controls"]
        and entry["trainings_ci95"] is not None
    ]
    if held_against_controls:
        over_prompts, over_trainings = (
            sum(
                entry[key] is not None and not entry[key][0] <= 0.5 <= entry[key][1]
                for entry in held_against_controls
            )
            for key in ("ci95", "trainings_ci95")
        )
        decided = sum(entry["verdict"] != "ties" for entry in held_against_controls)
        yield (
            f"By {by}, the interval over prompts tells {over_prompts} of {len(held_against_controls)} comparisons with a "
            f"control apart, the verdict here {decided}, and the interval over trainings and prompts, which alone is about "
            f"the methods, {over_trainings}."
        )


def markdown(results: Mapping[str, Any]) -> str:
    """The same as a Markdown page, with settings, reasons and the sweep."""
    held_out = results["electorate"]["held_out"]
    lines = [
        f"# Methods in the miniature world, prefbench {results['prefbench']}",
        "",
        f"{_title(results)}. Mean truth of the base: {results['base']['mean_truth']:.3f}.",
        "",
    ]
    for line in statements(results):
        lines += [line, ""]
    headers = [f"{judge} | over trainings too" for judge in ("vote", *held_out)]
    lines += [f"| arm | over | {' | '.join(headers)} | {held_out[0]}, mean difference |"]
    lines += ["|---" * (3 + 2 * len(headers)) + "|"]
    for arm in results["arms"]:
        for other, judges in _by_partner(arm):
            cells = [
                f"{_rate(entry, 1)} {entry['verdict']} | {_interval(entry['trainings_ci95'], 1)}"
                for entry in judges
            ]
            lines.append(f"| {arm['name']} | {other} | {' | '.join(cells)} | {_gap(judges[1])} |")
        if not arm["comparisons"]:
            lines.append(f"| {arm['name']} | every training diverged |" + " |" * (1 + 2 * len(headers)))
    lines += ["", LEGEND, "", *_arms_table(results)]
    if any(arm["stability"] for arm in results["arms"]):
        lines += ["", *_stability_markdown(results)]
    if results["sweep"]:
        lines += ["", *_sweep_table(results["sweep"])]
    return "\n".join(lines) + "\n"


def _gap(entry: Entry) -> str:
    limits = entry["mean_difference_ci95"]
    interval = "" if limits is None else f" [{limits[0]:+.3f}, {limits[1]:+.3f}]"
    return f"{entry['mean_difference']:+.3f}{interval}"


def _arms_table(results: Mapping[str, Any]) -> Iterator[str]:
    yield "| arm | settings beside the recipe's | learning rate | mean truth | s a training | held against | why |"
    yield "|---" * 7 + "|"
    for arm in results["arms"]:
        settings = ", ".join(f"{name} = {value}" for name, value in arm["settings"].items()) or "none"
        seconds = "" if arm["seconds_a_training"] is None else f"{arm['seconds_a_training']:.0f}"
        yield (
            f"| {arm['name']} | {settings} | {arm['lr']:.1e} (x{arm['factor']:g}) | {_truth(arm['mean_truth'])} | {seconds} | "
            f"{', '.join(arm['controls']) or 'base alone'} | {arm['why']} |"
        )


def _sweep_table(sweep: Mapping[str, Any]) -> Iterator[str]:
    factors = list(next(iter(sweep["arms"].values())))
    yield f"Sweep: {sweep['rule']}. Base: {sweep['base']:.3f}."
    yield ""
    yield f"| arm | {' | '.join(f'x{factor}' for factor in factors)} |"
    yield "|---" * (1 + len(factors)) + "|"
    for name, means in sweep["arms"].items():
        cells = ["diverged" if means[factor] is None else f"{means[factor]:.3f}" for factor in factors]
        yield f"| {name} | {' | '.join(cells)} |"


STABILITY = ("arm", "judge", "gain", "over steps", "over seeds")


def _stability_title(results: Mapping[str, Any]) -> str:
    traced = next(arm["stability"] for arm in results["arms"] if arm["stability"])
    return (
        f"Stability of the reward on {count(traced['prompts'], 'prompt')}. gain: mean of the last step over the base; "
        f"over steps: standard deviation over steps {', '.join(map(str, traced['steps']))}, mean of the seeds; "
        "over seeds: standard deviation of the last step."
    )


def _stability_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Texts below STABILITY; a spread of fewer than two values is n/a."""
    for arm in results["arms"]:
        for judge, found in (arm["stability"] or {"judges": {}})["judges"].items():
            gain = mean(means[-1] for means in found["means"].values()) - found["base"]
            spreads = (found["over_steps"], found["over_seeds"])
            yield (
                arm["name"],
                judge,
                f"{gain:+.4f}",
                *("n/a" if spread is None else f"{spread:.4f}" for spread in spreads),
            )


def _stability_table(results: Mapping[str, Any]) -> Table:
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        title=_stability_title(results),
        title_justify="left",
        title_style="",
    )
    for header in STABILITY:
        table.add_column(header, no_wrap=True, justify="left" if header in STABILITY[:2] else "right")
    for row in _stability_rows(results):
        table.add_row(*map(Text, row))
    return table


def _stability_markdown(results: Mapping[str, Any]) -> Iterator[str]:
    yield _stability_title(results)
    yield ""
    yield f"| {' | '.join(STABILITY)} |"
    yield "|---" * len(STABILITY) + "|"
    for row in _stability_rows(results):
        yield f"| {' | '.join(row)} |"
