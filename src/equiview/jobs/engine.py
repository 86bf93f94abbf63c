"""Where the units of a run are worked on: in this process, in several, or on a Ray cluster; and which share of them.

A unit is an object, scene, clip, picture ...: whatever writes files of its own. Nothing else about a run depends on the
engine. Units and the function are pickled once and sent to every worker, the features with them.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from ..errors import EquiviewError, bad_input, one_line
from ..records import RunRecord

log = logging.getLogger(__name__)

MAX_PROCESSES = 1024
MAX_DEATHS = 2
"""A unit whose worker died so often is given up: it is most likely the reason (too little memory, say)."""
RAY_WINDOW = 512
"""Units handed to Ray at a time: enough for it to add machines, few enough to wait for."""
AGAIN = "Run the same command again to go on; fewer processes need less memory."
T = TypeVar("T")
Work = Callable[[Any], Any]


class WorkerDied(EquiviewError):
    """The process that worked on a unit ended without a word, again and again."""


@dataclass(frozen=True)
class Engine:
    """Where units are worked on, and which.

    Attributes:
        kind: `local`, `process` or `ray`.
        workers: Processes of the kind `process`.
        address: Of the Ray cluster; None starts one on this machine, or finds the one that RAY_ADDRESS names.
        shard: (i, n): only every n-th unit, from the i-th, counted from 1.
    """

    kind: str = "local"
    workers: int = 1
    address: str | None = None
    shard: tuple[int, int] = (1, 1)

    def share(self, units: Sequence[T], what: str = "units") -> list[T]:
        """Return the units of this shard.

        Raises:
            EquiviewError: There are more shards than units.
        """
        index, count = self.shard
        if count > max(1, len(units)):
            fix = f"Use {len(units)} shards or fewer."
            raise bad_input("shard", f"at most as many as there are {what}", f"{count} of {len(units)}", fix)
        return list(units[index - 1 :: count])

    def record(self, command: str, units: Sequence[str]) -> dict[str, Any]:
        """Return what run.json says of a shard: {"shard": ...} with the names of all units; nothing for a whole run."""
        index, count = self.shard
        if count == 1:
            return {}
        return {"shard": {"command": command, "index": index, "of": count, "units": list(units)}}

    @property
    def words(self) -> RunRecord:
        """What the protocol of a shard says of it: {"shard": "3/10"}; nothing for a whole run."""
        index, count = self.shard
        return {} if count == 1 else {"shard": f"{index}/{count}"}

    @property
    def inside(self) -> bool:
        """Whether the units run in this process, where they can show how far they are."""
        return self.kind == "local"


LOCAL = Engine()


def parse_engine(text: str = "local", shard: str | None = None, many: bool = True) -> Engine:
    """Read `local`, `process:N`, `ray` or `ray:ADDRESS`, and a shard `i/n`.

    Args:
        text: The engine.
        shard: None is everything.
        many: Whether the command has many units this time.

    Raises:
        EquiviewError: It is none of these, Ray is asked for and not installed, or there is one unit only.
    """
    if not many and (text != "local" or shard is not None):
        raise bad_input("--engine, --shard", "a data set", "a single unit", "Leave them out.")
    kind, colon, rest = text.partition(":")
    part = _parse_shard(shard)
    if kind == "ray" and (rest or not colon):
        import_ray()
        return Engine(kind, address=rest or None, shard=part)
    if kind == "process" and rest.isdecimal() and 1 <= int(rest[:9]) <= MAX_PROCESSES:
        return Engine(kind, int(rest), shard=part)
    if text != "local":
        expected = f"local, process:N with N from 1 to {MAX_PROCESSES}, ray or ray:ADDRESS"
        raise bad_input("--engine", expected, repr(text[:80]), "For instance process:4.")
    return Engine(shard=part)


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return (1, 1)
    index, _, count = text.partition("/")
    if not all(part.isascii() and part.isdecimal() and len(part) < 7 for part in (index, count)):
        raise bad_input("--shard", "i/n, such as 3/10", repr(text[:40]), "i counts from 1 to n.")
    if not 1 <= int(index) <= int(count):
        raise bad_input("--shard", "i/n with i from 1 to n", repr(text), "The first of ten is 1/10.")
    return int(index), int(count)


def import_ray() -> Any:
    """Return the module `ray`.

    Raises:
        EquiviewError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        fix = "pip install 'equiview[ray]', or use --engine process:N."
        raise bad_input("--engine ray", "the package ray", "it is not installed", fix) from error
    return ray


def run_units(
    work: Work, units: Sequence[Any], engine: Engine = LOCAL, give_up: Callable[[int, WorkerDied], Any] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (number of the unit, what came of it) as soon as each is done, in any order.

    Args:
        work: Called with a unit; it and the units can be pickled unless the engine is local.
        units: All of them; shards are made before.
        engine: Where.
        give_up: Given the number of a unit whose workers died, returns what comes of it; None raises.

    Raises:
        EquiviewError: What cannot be sent to other processes; as `work` does; `WorkerDied`.
    """
    if engine.inside or not units:
        yield from ((number, work(unit)) for number, unit in enumerate(units))
        return
    with TemporaryDirectory(prefix="equiview-") as folder:
        try:
            parcel = pickle.dumps((work, list(units)))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            fix = "Use --engine local, or --shard i/n with a process for each shard."
            raise bad_input(f"--engine {engine.kind}", "features that can be pickled", str(error), fix) from error
        if engine.kind == "ray":
            done = _on_ray(parcel, len(units), engine)
        else:
            path = Path(folder) / "units.pickle"
            path.write_bytes(parcel)
            del parcel
            done = _in_processes(path, len(units), engine)
        for number, result in done:
            if isinstance(result, WorkerDied):
                if give_up is None:
                    raise result
                yield number, give_up(number, result)
            else:
                yield number, result


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


def _in_processes(path: Path, count: int, engine: Engine) -> Iterator[tuple[int, Any]]:
    """Yield (number, result), or (number, `WorkerDied`) for a unit that was given up."""
    waiting, deaths = deque(range(count)), Counter[int]()
    pool = _Pool(path, min(engine.workers, count), _threads(engine.workers))
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
            pipe.send(_outcome(work, units[unit]))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _outcome(work: Work, unit: Any) -> tuple[bool, Any]:
    """Return (whether it failed, the result or the error)."""
    try:
        return False, work(unit)
    except (EquiviewError, OSError, MemoryError, RuntimeError, ValueError, TypeError, LookupError) as error:
        # The traceback itself does not travel.
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        return True, error


def _on_ray(parcel: bytes, count: int, engine: Engine) -> Iterator[tuple[int, Any]]:
    """Yield (number, result), or (number, `WorkerDied`) for a unit that was given up."""
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(address=engine.address, include_dashboard=None if engine.address else False, log_to_driver=False)
    torch = sys.modules.get("torch")
    cards = 1 if torch is not None and torch.cuda.is_initialized() else 0
    task = ray.remote(max_retries=MAX_DEATHS - 1, num_gpus=cards)(_ray_unit)
    died = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)
    try:
        # An array is read where it lies, by every worker of a machine; bytes would be copied for each unit.
        held, key, paths = ray.put(np.frombuffer(parcel, np.uint8)), uuid.uuid4().hex, list(sys.path)
        waiting, running = deque(range(count)), dict[Any, int]()
        while waiting or running:
            while waiting and len(running) < RAY_WINDOW:
                number = waiting.popleft()
                running[task.remote(held, key, paths, number)] = number
            (done, *_), _ = ray.wait(list(running))
            number = running.pop(done)
            try:
                failed, result = ray.get(done)
            except died as error:
                why = f"A worker died {MAX_DEATHS} times on unit {number + 1}: {one_line(str(error))}. {AGAIN}"
                failed, result = False, WorkerDied(why)
            if failed:
                raise result
            yield number, result
    finally:
        if started:
            ray.shutdown()


def _ray_unit(parcel: Any, key: str, paths: Sequence[str], unit: int) -> tuple[bool, Any]:
    """Do one unit; what was sent is unpacked once for all units of this worker."""
    if key not in _UNPACKED:
        _UNPACKED.clear()
        # Modules are looked for where the driver finds them, as in its own processes.
        sys.path += [path for path in paths if path not in sys.path]
        _UNPACKED[key] = pickle.loads(memoryview(parcel))
    work, units = _UNPACKED[key]
    return _outcome(work, units[unit])


_UNPACKED: dict[str, tuple[Work, list[Any]]] = {}
