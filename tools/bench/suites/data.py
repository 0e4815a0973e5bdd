"""Suite `data`: rows a second to one consumer, from the data service or from torch's DataLoader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea.services import port_file, start_data_service
from tools.bench import processes, rows
from tools.bench.benchmark import Benchmark, Pair, Sample

_OURS = "pangea data service"
_LOADERS = {"DataLoader, in the process": 0, "DataLoader, 2 workers": 2}


@dataclass(frozen=True)
class DataBenchmark:
    """So many rows of so many columns, read over and over in batches of 256."""

    name: str
    measures: str
    rows: int
    columns: int
    epochs: int
    in_memory: bool
    unit: str = "rows/s"
    more_is_better: bool = True
    contenders: Sequence[str] = (_OURS, *_LOADERS)
    pairs: Sequence[Pair] = tuple(Pair(_OURS, loader) for loader in _LOADERS)
    tolerance: float = 1e-4

    def run(self, contender: str, folder: Path) -> Sample:
        """All epochs but the first."""
        file = folder / "rows.csv"
        (rows.pixels_csv if self.in_memory else rows.decimals_csv)(file, self.rows, self.columns)
        job = {"batch_size": 256, "epochs": self.epochs, "file": str(file), "in_memory": self.in_memory}
        if contender != _OURS:
            return self._sample(folder, "rows_loader", {**job, "workers": _LOADERS[contender]})
        (folder / "logs").mkdir()
        service = start_data_service(folder, "rust-compute", f"csv:{file},shape={self.columns},held_out=0")
        try:
            listen = service.wait_ready(port_file(folder, "rust-compute"), processes.PATIENCE_SECONDS)["listen"]
            return self._sample(folder, "rows_pangea", {**job, "data": listen})
        finally:
            service.stop()

    def _sample(self, folder: Path, program: str, job: Mapping[str, object]) -> Sample:
        [answer] = processes.results(folder, [processes.start(program, folder, 0, job)])
        rate = answer["rows"] / answer["seconds"]
        return Sample(rate, answer["rows"], answer["mean"], {"MB/s": rate * self.columns * 4 / 1e6})


def benchmarks(quick: bool) -> list[Benchmark]:
    """A CSV file of 64 columns, and rows of 784 that are in memory."""
    few, epochs = (1024, 1) if quick else (0, 0)
    return [
        DataBenchmark(
            "CSV, 64 columns",
            "Rows of a CSV file, shuffled and normalised, after a first epoch. DataLoader parses a row each time it is read; the data service has parsed all of them before it is ready.",
            few or 20_000,
            64,
            epochs or 3,
            in_memory=False,
        ),
        DataBenchmark(
            "memory, 784 columns",
            "Rows of 784 float32 that were parsed and normalised before, shuffled, after a first epoch. The data service sends them through a socket, with a hash over each batch that the reader checks.",
            few or 10_000,
            784,
            epochs or 5,
            in_memory=True,
        ),
    ]
