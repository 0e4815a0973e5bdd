"""Loader processes of one worker: they load batches ahead, and are restarted if they die.

Not torch's DataLoader: that one loads what a sampler says, in its order, and ends with an error if a process dies. A
run changes its mind about which batches a worker computes, and survives every process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from pangea.loading.fetch import Failure, Loaded, LoadingFailed, Source
from pangea.loading.loader_process import Assignment, main
from pangea.loading.options import LoaderOptions
from pangea.loading.requests import Plan, Request
from pangea.loading.transfer import receive

_log = logging.getLogger("pangea")

# How often loader processes may die over one batch.
_MAX_DEATHS = 3
# A process closes its connection shortly before it has ended.
_EXIT_SECONDS = 5.0


class _LoaderProcess:
    """One loader process and what it was asked for.

    Attributes:
        pending: requests that it has not answered, in their order.
    """

    def __init__(self, number: int, source: Source, options: LoaderOptions, plan: Plan) -> None:
        context = _context(options.multiprocessing_context)
        self.number, self.pending = number, list[Request]()
        self.connection, theirs = context.Pipe(duplex=True)
        parent = None if context.get_start_method() == "forkserver" else os.getpid()
        self._process = context.Process(
            target=main,
            args=(Assignment(number, parent, source, replace(options, multiprocessing_context=None)), theirs),
            name=f"pangea-loader-{number}",
            daemon=True,
        )
        with warnings.catch_warnings():
            # Python warns that other threads do not exist in the child, which uses nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        self.connection.send(plan)

    @property
    def pid(self) -> int:
        """The process ID."""
        return int(self._process.pid)

    def ask(self, message: Plan | Request) -> None:
        """Sends a message; one that a dead process does not read is sent to its successor."""
        if isinstance(message, Request):
            self.pending.append(message)
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def how_it_ended(self) -> str:
        """Returns how the process ended; call it once its connection is closed."""
        self._process.join(_EXIT_SECONDS)
        code = self._process.exitcode
        if code is None:
            return "closed its connection"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    def end(self) -> None:
        """Kills the process, which has no state worth saving."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _context(chosen: Any) -> Any:
    """Returns a context of multiprocessing by its name; the default forks, so that scripts need no main guard."""
    if chosen is None or isinstance(chosen, str):
        return multiprocessing.get_context(chosen or "fork")
    return chosen


class LoaderPool:
    """Loads batches in processes. Used by the thread that created it, and not by a forked child.

    Attributes:
        waiting: entered while the pool only waits for its processes, so that a signal handler may raise.
    """

    waiting: AbstractContextManager[None] = nullcontext()

    def __init__(self, source: Source, options: LoaderOptions, plan: Plan) -> None:
        self._source, self._options, self._plan = source, options, plan
        self._wanted: list[Request] = []
        self._results: dict[Request, Loaded | Failure] = {}
        self._deaths: Counter[Request] = Counter()
        self._processes = [self._start(number) for number in range(options.processes)]

    def _start(self, number: int) -> _LoaderProcess:
        return _LoaderProcess(number, self._source, self._options, self._plan)

    @property
    def pids(self) -> list[int]:
        """The process IDs."""
        return [process.pid for process in self._processes]

    @property
    def depth(self) -> int:
        """How many batches are loaded ahead."""
        return self._options.processes * self._options.prefetch_factor

    def plan(self, plan: Plan) -> None:
        """Replaces the plan; what was loaded after the old one is dropped."""
        self._plan = plan
        self.want(())
        for process in self._processes:
            process.ask(plan)

    @property
    def wanted(self) -> list[Request]:
        """The batches that will be needed, in their order."""
        return self._wanted

    def want(self, requests: Sequence[Request]) -> None:
        """Replaces the list of batches that will be needed, in their order. What is not in it is dropped."""
        self._wanted = list(dict.fromkeys(requests))
        wanted = set(self._wanted)
        self._results = {request: result for request, result in self._results.items() if request in wanted}
        self._assign()

    def _assign(self) -> None:
        """Lets the next batches be loaded, as many as may be loaded ahead."""
        started = {request for process in self._processes for request in process.pending}
        for request in self._wanted[: self.depth]:
            if request not in started and request not in self._results:
                self._least_busy().ask(request)

    def _least_busy(self) -> _LoaderProcess:
        return min(self._processes, key=lambda process: len(process.pending))

    def collect(self, request: Request) -> Loaded:
        """Waits for a batch and returns it, once.

        Raises:
            LoadingFailed: the dataset raised an error, or loader processes die over this batch.
        """
        if request not in self._wanted:
            self._wanted.insert(0, request)
        while request not in self._results:
            if not any(request in process.pending for process in self._processes):
                self._least_busy().ask(request)
            self._receive()
        result = self._results.pop(request)
        self._wanted.remove(request)
        self._deaths.pop(request, None)
        self._assign()
        if isinstance(result, Failure):
            raise result.as_error()
        return result

    def _receive(self) -> None:
        """Waits until some processes have answered or died, and takes note of it."""
        by_connection: dict[Any, _LoaderProcess] = {process.connection: process for process in self._processes}
        with self.waiting:
            ready = wait(list(by_connection))
        for connection in ready:
            assert isinstance(connection, Connection)
            process = by_connection[connection]
            try:
                request, result = receive(connection)
            except (EOFError, OSError):
                self._restart(process)
                continue
            except BaseException:
                # What follows in the connection is the rest of a message.
                self._replace(process)
                raise
            process.pending.remove(request)
            if request in self._wanted:
                self._results[request] = result
        self._assign()

    def _restart(self, process: _LoaderProcess) -> None:
        how = process.how_it_ended()
        # It loads one batch after the other, so only the first can be the reason.
        for request in process.pending[:1]:
            self._deaths[request] += 1
            if self._deaths[request] >= _MAX_DEATHS:
                raise self._died(request, how)
        _log.warning("loader process %d (pid %d) %s; it is started again", process.number, process.pid, how)
        self._replace(process)

    def _replace(self, process: _LoaderProcess) -> None:
        """Starts another process in the place of one, with its requests."""
        process.end()
        successor = self._start(process.number)
        self._processes[self._processes.index(process)] = successor
        for request in process.pending:
            if request in self._wanted:
                successor.ask(request)

    def _died(self, request: Request, how: str) -> LoadingFailed:
        samples = self._plan.samples(request)
        shown = ", ".join(map(str, samples[:8])) + (", ..." if len(samples) > 8 else "")
        return LoadingFailed(
            f"{_MAX_DEATHS} loader processes died while they loaded the samples {shown} of the dataset"
            f" {self._source.name}; the last one {how}. SIGKILL often means that memory ran out: use fewer"
            " loader_processes; loader_processes=0 loads in the script's process, which shows other errors"
        )

    def close(self) -> None:
        """Ends all processes."""
        for process in self._processes:
            process.end()
        self._processes = []
