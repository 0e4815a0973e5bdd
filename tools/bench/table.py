"""The results as tables. Losses are shown as wins are."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.bench.benchmark import Pair
from tools.bench.compare import Result
from tools.bench.figures import Spread, spread


def show(console: Console, machine: dict[str, Any], results: list[Result]) -> None:
    """Prints the machine, and a table a benchmark with who is how many times as fast below it."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, load average {machine['load']:.2f} at the start; {versions}; commit {machine['commit'] or 'unknown'}"
    console.print(where, highlight=False)
    for result in results:
        console.print(benchmark_view(result))


def benchmark_view(result: Result) -> RenderableType:
    """What was measured, what each contender reached, and how they compare."""
    benchmark = result.benchmark
    rounds = len(result.values(benchmark.contenders[0]))
    table = Table(title=f"{result.suite}: {benchmark.name} ({benchmark.unit}, {'more' if benchmark.more_is_better else 'less'} is better)", title_justify="left")
    table.add_column("contender")
    for column in ("median", "MAD", "range"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(f"also, in the median of {rounds}, at load {result.load:.1f}")
    for contender in benchmark.contenders:
        reached = spread(result.values(contender))
        details = ", ".join(f"{name} {number(value)}" for name, value in result.details(contender).items())
        table.add_row(contender, number(reached.median), number(reached.mad), f"{number(reached.low)} to {number(reached.high)}", details)
    sentences = [Text(sentence(pair, result.speedup(pair))) for pair in benchmark.pairs]
    return Group(Text(), Text(benchmark.measures, style="dim"), table, *sentences)


def sentence(pair: Pair, speedup: Spread) -> str:
    """Says who is faster, or `even` where some rounds say this and some that."""
    word = "faster" if speedup.low > 1 else "slower" if speedup.high < 1 else "even"
    return f"{word}: {pair.ours} is {speedup.median:.2f} ({speedup.low:.2f} to {speedup.high:.2f}) times as fast as {pair.peer}"


def number(value: float) -> str:
    """With three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
