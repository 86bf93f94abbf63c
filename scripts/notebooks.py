"""Build notebooks/*.ipynb from the scripts beside them (jupytext, py:percent) and run them, outputs included:

    python scripts/notebooks.py [notebooks/01_first_look.py ...]

Needs the extra `notebooks`. Nothing is downloaded; each takes about a minute on two CPU cores. A cell that fails stops
the build.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
TIMEOUT_S = 1200


def build(script: Path) -> Path:
    """Write the notebook of a script, with the outputs of a run in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(KERNEL)
    with tempfile.TemporaryDirectory() as folder:
        here = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=TIMEOUT_S, resources=here, record_timing=False).execute()
    notebook.metadata = nbformat.from_dict(KERNEL)  # A run adds the version of Python.
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index:02d}", nbformat.NotebookNode()
        if cell.cell_type == "code":
            # Progress and warnings of the commands differ from run to run.
            cell.outputs = [_small(one) for one in cell.outputs if one.get("name") != "stderr"]
    target = script.with_suffix(".ipynb")
    nbformat.write(notebook, target, version=4)
    return target


def _small(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep the JPEG of a picture that was shown as PNG too, which is ten times as large."""
    if "image/jpeg" in output.get("data", {}):
        output.data.pop("image/png", None)
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", type=Path, nargs="*", default=sorted((ROOT / "notebooks").glob("*.py")))
    for script in parser.parse_args().scripts:
        start = time.perf_counter()
        target = build(script)
        print(f"{target.name}: {time.perf_counter() - start:.0f} s, {target.stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
