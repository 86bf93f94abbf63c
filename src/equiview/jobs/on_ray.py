"""Units on a Ray cluster; Ray itself starts those again whose worker or machine died."""

import pickle
import sys
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import bad_input, one_line
from .workers import AGAIN, MAX_DEATHS, Work, WorkerDied, outcome

RAY_WINDOW = 512
"""Units handed to Ray at a time: enough for it to add machines, few enough to wait for."""


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


def on_ray(parcel: bytes, count: int, address: str | None) -> Iterator[tuple[int, Any]]:
    """Yield (number, result), or (number, `WorkerDied`) for a unit that was given up."""
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
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
    return outcome(work, units[unit])


_UNPACKED: dict[str, tuple[Work, list[Any]]] = {}
