"""Print the table of the card's routes from a file of compare.py.

python scripts/train_tiny/routes_table.py baselines/tiny_routes.json
"""

import json
import sys
from pathlib import Path

MIXES = {"photos": "photos and made pictures", "procedural": "made pictures only"}
TOGETHER = "blocks 4,6,8,10 + 3x3"


def main() -> None:
    table = json.loads(Path(sys.argv[1]).read_text())
    print("| route | steps | minutes | unexplained after block 4 | 8 | 12 | PCDP@0.05, dev |")
    print("|---|---|---|---|---|---|---|")
    for key, row in table.items():
        if key == "teacher":
            continue
        name = f"`{row['settings']['route']}`, {MIXES[row['settings']['mix']]}"
        states = row["unexplained_of_held_out_photos"]["224"]
        cells = [f"{states[block]:.2f}" for block in (4, 8, 12)]
        score = row["dev_pcdp@0.05"][TOGETHER]
        print(f"| {name} | {row['steps']:,} | {row['seconds'] / 60:.0f} | {' | '.join(cells)} | {score:.1f} |")
    print(f"| teacher | | | 0 | 0 | 0 | {table['teacher']['dev_pcdp@0.05'][TOGETHER]:.1f} |")


if __name__ == "__main__":
    main()
