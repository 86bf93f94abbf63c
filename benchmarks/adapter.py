"""What an adapter of one object does to pose, tracking and transfer: paired differences to the features without it.

    equiview finetune -b BACKBONE --train-object large_marker.glb --out runs/marker
    equiview bench -b BACKBONE --adapter runs/marker --strength 0 --out runs/synthetic-before
    equiview bench -b BACKBONE --adapter runs/marker --out runs/synthetic-after
    equiview bench -b BACKBONE --adapter runs/marker --strength 0 --suite real --root DATA --out runs/real-before
    equiview bench -b BACKBONE --adapter runs/marker --suite real --root DATA --out runs/real-after
    equiview bench -b BACKBONE --out runs/synthetic-last
    equiview bench -b BACKBONE --suite real --root DATA --out runs/real-last
    equiview bench -b BACKBONE --blocks 4,6,8,10 --out runs/synthetic-plain
    equiview finetune -b BACKBONE --train-object large_marker.glb --recipe wiener --set head=centered --out runs/fine
    equiview bench -b BACKBONE --adapter runs/fine --strength 0 --tasks pose --out runs/fine-0
    equiview bench -b BACKBONE --adapter runs/fine --strength 0.5 --tasks pose --out runs/fine-0.5
    python benchmarks/adapter.py --runs runs --out baselines/adapter_deit_tiny.json \
        --also synthetic-last synthetic-after --also real-last real-after \
        --also synthetic-plain fine-0 --also fine-0 fine-0.5

The runs are finished folders; this compares them and writes the numbers without the paths. Strength 0 is the same
blocks, averages and whitening without what was learned; the runs named last are of the pretrained last block alone.
(baselines/adapter_tiny.json: the adapter of the demo of 0.2.0.)
"""

import argparse
from pathlib import Path
from typing import Any

from _protocol import rounded

from equiview.io import write_json
from equiview.jobs.compare import compare_runs

SUITES = ("synthetic", "real")


def without_folders(value: Any) -> Any:
    """Keep the last name of every path: the rest belongs to one machine."""
    if isinstance(value, dict):
        return {key: Path(own).name if key == "folder" else without_folders(own) for key, own in value.items()}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return [without_folders(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--also", nargs=2, action="append", default=[], metavar=("BEFORE", "AFTER"), help="more runs")
    arguments = parser.parse_args()
    folders = {suite: [arguments.runs / f"{suite}-{when}" for when in ("before", "after")] for suite in SUITES}
    found = {suite: without_folders(compare_runs(*pair)) for suite, pair in folders.items()}
    for pair in arguments.also:
        # The last block is other blocks: that is what is asked about, and `protocol_differs` says so.
        compared = compare_runs(*(arguments.runs / name for name in pair), anyway=True)
        found[" to ".join(pair)] = without_folders(compared)
    write_json(arguments.out, rounded({"commands": [line.strip() for line in __doc__.splitlines()[2:14]], **found}))
    print(f"Wrote {arguments.out}")


if __name__ == "__main__":
    main()
