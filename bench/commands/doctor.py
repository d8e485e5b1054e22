"""`prefbench doctor`: what this machine has, and what it can reach."""

__all__ = ["doctor_command"]

PACKAGES = (
    "prefbench", "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch",
    "safetensors", "numpy", "scipy", "pandas", "pyarrow", "pillow",
)  # fmt: skip


def doctor_command() -> None:
    """Show versions, devices, shipped weights, prompt texts and whether a model hub answers.

    Nothing is downloaded. Exit code 0 when the miniature world can run; what is missing is named with its remedy.

    Examples:

        prefbench doctor
    """
    from rich.console import Console
    from rich.table import Table

    from prefbench.bench.diagnosis import diagnose

    console = Console()
    worst = 0
    for title, findings in diagnose(PACKAGES):
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
        )
        table.add_column(no_wrap=True, min_width=18)
        table.add_column(no_wrap=True, min_width=4)
        table.add_column(overflow="fold")
        for finding in findings:
            mark = {"ok": "[green]ok[/]", "absent": "[yellow]–[/]", "broken": "[red]no[/]"}[finding.state]
            table.add_row(finding.what, mark, finding.detail)
            worst = max(worst, 1 if finding.state == "broken" else 0)
        console.print(table)
        console.print()
    if worst:
        from prefbench.bench.exceptions import PrefbenchError

        raise PrefbenchError("This installation is broken: see the lines marked `no` above.")
