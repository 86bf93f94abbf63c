"""Units in several processes of this machine; a worker may die at any time."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from ..errors import EquiviewError

log = logging.getLogger(__name__)

MAX_DEATHS = 2
"""A unit whose worker died so often is given up: it is most likely the reason (too little memory, say)."""
AGAIN = "Run the same command again to go on; fewer processes need less memory."
Work = Callable[[Any], Any]


class WorkerDied(EquiviewError):
    """The process that worked on a unit ended without a word, again and again."""


@dataclass
class _Worker:
    """A process and the unit it works on; None before the first and after the last."""

    process: Any
    pipe: Any
    unit: int | None = None


@dataclass
class _Pool:
    """As many workers as are needed, each with a pipe of its own, so that the death of one is seen at once."""

    path: Path
    size: int
    threads: int
    workers: list[_Worker] = field(default_factory=list)

    def start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs, self.path, self.threads), daemon=True)
        process.start()
        # Only the worker holds its end: when it dies, ours ends.
        theirs.close()
        worker = _Worker(process, ours)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def in_processes(path: Path, count: int, workers: int) -> Iterator[tuple[int, Any]]:
    """Yield (number, result), or (number, `WorkerDied`) for a unit that was given up."""
    waiting, deaths = deque(range(count)), Counter[int]()
    pool = _Pool(path, min(workers, count), _threads(workers))
    try:
        while True:
            while waiting and len(pool.workers) < pool.size:
                pool.start()
            for worker in pool.workers:
                if worker.unit is None and waiting:
                    _give(worker, waiting.popleft())
            busy = {worker.pipe: worker for worker in pool.workers if worker.unit is not None}
            if not busy:
                return
            for pipe in connection.wait(list(busy)):
                worker = busy[pipe]
                unit, worker.unit = worker.unit, None
                assert unit is not None
                try:
                    failed, result = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    pool.workers.remove(worker)
                    deaths[unit] += 1
                    why = _cause(worker.process)
                    if deaths[unit] >= MAX_DEATHS:
                        yield unit, WorkerDied(f"A worker died {MAX_DEATHS} times on unit {unit + 1}: {why}. {AGAIN}")
                    else:
                        log.warning("a worker died (%s): its unit is done again", why)
                        waiting.appendleft(unit)
                    continue
                if failed:
                    raise result
                yield unit, result
    finally:
        pool.end()


def _give(worker: _Worker, unit: int) -> None:
    worker.unit = unit
    try:
        worker.pipe.send(unit)
    except (BrokenPipeError, ConnectionResetError):
        # It died while it had nothing to do; waiting for its answer finds that out.
        return


def _cause(process: Any) -> str:
    process.join()
    code = process.exitcode
    killed = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return f"{killed}, often too little memory" if code == -signal.SIGKILL else killed


def _threads(workers: int) -> int:
    """Return the threads that each of so many processes computes with: what OMP_NUM_THREADS says, or its share.

    MKL rounds some products of a few rows otherwise with another number of threads: only runs with the same number are
    equal to the last digit.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    torch = sys.modules.get("torch")
    return max(1, ((os.cpu_count() or 1) if torch is None else int(torch.get_num_threads())) // workers)


def _worker(pipe: Any, path: Path, threads: int) -> None:
    """Do units until the other end is closed: by its driver, or because that died."""
    # Ctrl-C reaches the whole group of processes; the driver then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # Libraries read these when they are loaded, which unpickling does.
        os.environ[name] = str(threads)
    try:
        work, units = pickle.loads(path.read_bytes())
        while True:
            unit = pipe.recv()
            pipe.send(outcome(work, units[unit]))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def outcome(work: Work, unit: Any) -> tuple[bool, Any]:
    """Return (whether it failed, the result or the error)."""
    try:
        return False, work(unit)
    except (EquiviewError, OSError, MemoryError, RuntimeError, ValueError, TypeError, LookupError) as error:
        # The traceback itself does not travel.
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        return True, error
