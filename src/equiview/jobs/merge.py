"""The job behind `equiview merge`: the folders of all shards of a run become the folder of the run as a whole.

Neither the model nor the data are needed: rows and protocols are on disk.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import bad_input
from ..io import read_json, read_jsonl, require_file, require_folder
from ..records import ProtocolRecord
from .measure import end_measure
from .pose import end_poses
from .run_folder import broken_path, claim_folder
from .scoring import UNITS_LOG, rows_path, write_rows
from .track import end_tracking
from .transfer import end_transfer

ENDINGS: dict[str, Callable[[Path, Sequence[str], ProtocolRecord], Any]] = {
    "measure": end_measure,
    "track": end_tracking,
    "transfer": end_transfer,
    "pose": end_poses,
}
COPIED = ("rows", "broken", "live")
"""What units have written; rendered views stay where they are."""
OWN = ("shard", "device", "ambiguous_share", "broken", "notes")
"""Of a protocol: what may differ between shards."""
FIX = "Give the folder of every shard of one run, each once."


def merge(runs: Sequence[Path], out: Path) -> tuple[str, Any]:
    """Put the shards of one run together: rows and summaries are those of one process that did everything.

    Args:
        runs: The folders of all shards, in any order.
        out: A new folder, or one that this very merge was written to before.

    Returns:
        The command that was merged, and the content of its summary.json.

    Raises:
        EquiviewError: A folder is no finished shard, or shards are missing, given twice, or of different runs.
    """
    records = {Path(run): _record(Path(run)) for run in runs}
    ordered = _in_order(records)
    first, what = ordered[0], dict(records[ordered[0]])
    shard = what.pop("shard")
    protocols = [_protocol(run, records[run]["shard"]) for run in ordered]
    for run, protocol in zip(ordered, protocols, strict=True):
        _check_equal((run, first), (protocol, protocols[0]), OWN)
    claim_folder(out, what)
    for run in ordered:
        for name in COPIED:
            if (run / name).is_dir():
                shutil.copytree(run / name, out / name, dirs_exist_ok=True)
    write_rows(out / UNITS_LOG, [line for run in ordered for line in read_jsonl(run / UNITS_LOG)])
    protocol = {key: value for key, value in protocols[0].items() if key not in OWN or key == "device"}
    if "device" in protocol:
        protocol["device"] = ", ".join(dict.fromkeys(one["device"] for one in protocols))
    return shard["command"], ENDINGS[shard["command"]](out, shard["units"], protocol)  # type: ignore[arg-type]


def _record(run: Path) -> dict[str, Any]:
    """Return what a shard is."""
    record = read_json(require_file(require_folder(run, "the folder of a shard") / "run.json", "the record of a run"))
    shard = record.get("shard") if isinstance(record, dict) else None
    keys = {"command", "index", "of", "units"}
    if not isinstance(shard, dict) or shard.keys() != keys or shard["command"] not in ENDINGS:
        raise bad_input(str(run), "a shard, from a command with --shard i/n", "another run", FIX)
    return dict(record)


def _in_order(records: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """Return the folders by the number of their shard, after checking that they are one run, whole."""
    first, *others = records
    for run in others:
        found, wanted = ({**records[one], "shard": {**records[one]["shard"], "index": 0}} for one in (run, first))
        _check_equal((run, first), (found, wanted))
    by_index: dict[int, Path] = {}
    for run, record in records.items():
        index = record["shard"]["index"]
        if index in by_index:
            raise bad_input(str(run), "shards that do not overlap", f"shard {index} in {by_index[index]}, too", FIX)
        by_index[index] = run
    count = records[first]["shard"]["of"]
    missing = [str(index) for index in range(1, count + 1) if index not in by_index]
    if missing:
        raise bad_input("merge", f"{count} shards", f"no shard {', '.join(missing)}", FIX)
    return [by_index[index] for index in sorted(by_index)]


def _check_equal(
    runs: tuple[Path, Path], records: tuple[Mapping[str, Any], Mapping[str, Any]], but: Sequence[str] = ()
) -> None:
    found, wanted = records
    different = sorted(k for k in found.keys() | wanted.keys() if k not in but and found.get(k) != wanted.get(k))
    if different:
        raise bad_input(str(runs[0]), f"the settings of {runs[1]}", f"other {', '.join(different)}", FIX)


def _protocol(run: Path, shard: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protocol of a shard after checking that it is finished."""
    units = shard["units"][shard["index"] - 1 :: shard["of"]]
    left = [name for name in units if not (rows_path(run, name).exists() or broken_path(run, name).exists())]
    if left or not (run / "summary.json").exists():
        fix = "Run its command again to finish it."
        raise bad_input(str(run), "a finished shard", f"{len(left)} of {len(units)} units left", fix)
    return dict(read_json(run / "summary.json")["protocol"])
