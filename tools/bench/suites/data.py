"""Suite `data`: rows a second to one consumer, from the data service, from a script's own dataset as a worker loads it,
or from torch's DataLoader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangea.rundir.layout import Addresses, port_file
from pangea.services.programs import start_data_service
from tools.bench import processes, rows
from tools.bench.benchmark import Benchmark, Goal, Pair, Sample

_OURS, _OVER_TCP = "pangea data service", "pangea data service, TCP"
_ALONE, _WITH_WORKERS = "DataLoader, in the process", "DataLoader, 2 workers"
_LOADERS = {_ALONE: 0, _WITH_WORKERS: 2}
# With as many processes as the loader that each is compared with.
_OWN = {_ALONE: "pangea own dataset, in the process", _WITH_WORKERS: "pangea own dataset, 2 loaders"}


@dataclass(frozen=True)
class DataBenchmark:
    """A table of rows and columns, read several times in batches of 256."""

    name: str
    measures: str
    rows: int
    columns: int
    epochs: int
    in_memory: bool
    loaders: Sequence[str] = tuple(_LOADERS)
    unit: str = "rows/s"
    more_is_better: bool = True
    tolerance: float = 1e-4

    @property
    def contenders(self) -> Sequence[str]:
        """The data service, reached in both ways, the script's own dataset, and the loaders."""
        return [_OURS, _OVER_TCP, *(_OWN[loader] for loader in self.loaders), *self.loaders]

    @property
    def pairs(self) -> Sequence[Pair]:
        """The data service against each loader, in both ways; and the script's own dataset against its loader."""
        goal = Goal(1.0) if self.in_memory else None
        return [
            *(
                Pair(ours, loader, goal if (ours, loader) == (_OURS, _ALONE) else None)
                for ours in (_OURS, _OVER_TCP)
                for loader in self.loaders
            ),
            *(Pair(_OWN[loader], loader) for loader in self.loaders),
        ]

    def run(self, contender: str, folder: Path) -> Sample:
        """All epochs but the first."""
        file = folder / "rows.csv"
        (rows.pixels_csv if self.in_memory else rows.decimals_csv)(file, self.rows, self.columns)
        job = {"batch_size": 256, "epochs": self.epochs, "file": str(file), "in_memory": self.in_memory}
        if contender in _LOADERS:
            return self._sample(folder, "rows_loader", {**job, "workers": _LOADERS[contender]})
        for loader, own in _OWN.items():
            if contender == own:
                return self._sample(folder, "rows_own", {**job, "workers": _LOADERS[loader]})
        (folder / "logs").mkdir()
        service = start_data_service(
            folder, "rust-compute", f"csv:{file},shape={self.columns},normalise=all,held_out=0"
        )
        try:
            addresses = Addresses(**service.wait_ready(port_file(folder, "rust-compute"), processes.PATIENCE_SECONDS))
            data = addresses.listen if contender == _OVER_TCP else addresses.for_workers
            return self._sample(folder, "rows_pangea", {**job, "data": data, "service": service.process.pid})
        finally:
            service.stop()

    def _sample(self, folder: Path, program: str, job: Mapping[str, object]) -> Sample:
        [answer] = processes.results(folder, [processes.start(program, folder, 0, job)])
        rate = answer["rows"] / answer["seconds"]
        # Of a thousand rows.
        cores = {name: 1e6 * seconds / answer["rows"] for name, seconds in answer["cores"].items()}
        return Sample(rate, answer["rows"], answer["mean"], {"MB/s": rate * self.columns * 4 / 1e6}, cores)


def benchmarks(quick: bool) -> list[Benchmark]:
    """A CSV file of 64 columns, and rows of 784 that are in memory. A quick look takes each kind of loader once: to
    start them takes longer than to read a few rows."""
    return [
        DataBenchmark(
            "CSV, 64 columns",
            "Rows of a CSV file, shuffled and normalised, after a first epoch. DataLoader parses a row each time it is "
            "read, and so does a script's own dataset; the data service has parsed all of them before it is ready.",
            rows=1024 if quick else 20_000,
            columns=64,
            epochs=1 if quick else 3,
            in_memory=False,
            loaders=[_WITH_WORKERS] if quick else list(_LOADERS),
        ),
        DataBenchmark(
            "memory, 784 columns",
            "Rows of 784 float32 that were parsed and normalised before, shuffled, after a first epoch. The data "
            "service writes them into memory that the reader maps, or sends them through a socket; with a hash over "
            "each batch. As a script's own dataset, each row is seeded, and each batch hashed.",
            rows=1024 if quick else 10_000,
            columns=784,
            epochs=1 if quick else 5,
            in_memory=True,
            loaders=[_ALONE] if quick else list(_LOADERS),
        ),
    ]
