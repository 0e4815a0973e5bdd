"""A report as Markdown. Results in favour of the peer are shown like those in favour of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def render(report: dict[str, Any]) -> str:
    """A report of `report.as_json` as Markdown: the machine, all ratios, and the results of each contender."""
    results = report["results"]
    parts = [
        f"# Benchmarks of {report['machine']['time']}",
        where(report["machine"]),
        "## How many times as fast as its peer",
        ratios(results),
    ]
    return "\n\n".join([*parts, *(_benchmark(result) for result in results)]) + "\n"


def where(machine: dict[str, Any]) -> str:
    """A sentence about the machine, its load, and the software that was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    hardware = (
        f"{machine['processor']} ({machine['vector_instructions']}), {machine['cores']} cores, "
        f"{machine['memory_kib'] / (1 << 20):.0f} GiB of memory"
    )
    return (
        f"{hardware}, load average {machine['load']:.2f} at the start; {versions}; commit "
        f"{machine['commit'] or 'unknown'}."
    )


def ratios(results: Sequence[dict[str, Any]]) -> str:
    """One row for each pair; above 1 ours is faster."""
    rows = []
    for result in results:
        for pair in result["speedups"]:
            span = f"{number(pair['low'])} to {number(pair['high'])}"
            rows.append(
                [
                    result["suite"],
                    result["benchmark"],
                    pair["ours"],
                    pair["peer"],
                    number(pair["median"]),
                    span,
                    verdict(pair["low"], pair["high"]),
                    _cores(pair["cores"]),
                    *_goal(pair, result["unit"]),
                ]
            )
    header = ["suite", "benchmark", "ours", "peer", "ratio", "range", "ours is", "core-ms", "goal", "reached"]
    return table(header, rows)


def _cores(both: list[float]) -> str:
    """The processor time of ours and of the peer; nothing if either was not measured."""
    return " / ".join(number(value) for value in both) if all(both) else ""


def _goal(pair: dict[str, Any], unit: str) -> list[str]:
    """The goal and whether it was reached; for a difference, which is not in the table otherwise, its value."""
    goal = pair.get("goal")
    if goal is None:
        return ["", ""]
    reached = "yes" if goal["reached"] else "no"
    if goal["figure"] == "ratio":
        return [f">= {number(goal['limit'])}", reached]
    difference = number(pair["difference"]["median"])
    return [f"<= {number(goal['limit'])} {unit} more", f"{reached}, {difference} {unit}"]


def verdict(low: float, high: float) -> str:
    """Who is faster, or `even` if the rounds disagree."""
    return "faster" if low > 1 else "slower" if high < 1 else "even"


def _benchmark(result: dict[str, Any]) -> str:
    rows = []
    for contender in result["contenders"]:
        details = ", ".join(f"{name} {number(value)}" for name, value in contender["details"].items())
        rows.append(
            [
                contender["name"],
                number(contender["median"]),
                number(contender["mad"]),
                f"{number(contender['low'])} to {number(contender['high'])}",
                ", ".join(f"{name} {number(value)}" for name, value in contender["cores"].items()),
                details,
                ", ".join(f"{name}: {value}" for name, value in contender["settings"].items()),
            ]
        )
    header = ["contender", "median", "MAD", "range", "core-ms", "also, in the median", "settings"]
    begin, end = result["loads"]
    rounds = len(result["contenders"][0]["values"])
    better = "more" if result["more_is_better"] else "less"
    title = f"## {result['suite']}: {result['benchmark']} ({result['unit']}, {better} is better)"
    told = f"{result['measures']} Rounds: {rounds}; load average {begin:.1f} before and {end:.1f} after."
    return "\n\n".join([title, told, table(header, rows)])


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table whose columns are as wide as their content, for people who read the source."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def number(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
