"""Where the units of a run are worked on: in this process, in several, or on a Ray cluster; and which share of them.

A unit is an object, scene, clip, picture ...: whatever writes files of its own. Nothing else about a run depends on the
engine. Units and the function are pickled once and sent to every worker, the features with them.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from ..errors import bad_input
from ..records import RunRecord
from .on_ray import import_ray, on_ray
from .workers import Work, WorkerDied, in_processes

MAX_PROCESSES = 1024
T = TypeVar("T")


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
            done = on_ray(parcel, len(units), engine.address)
        else:
            path = Path(folder) / "units.pickle"
            path.write_bytes(parcel)
            del parcel
            done = in_processes(path, len(units), engine.workers)
        for number, result in done:
            if isinstance(result, WorkerDied):
                if give_up is None:
                    raise result
                yield number, give_up(number, result)
            else:
                yield number, result
