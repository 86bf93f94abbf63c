"""The published tables 5 to 11 of the paper, as a file of the package: base and finetuned rows of five models."""

from importlib.resources import as_file, files

from .points import PointSet, read_points


def read_paper(_: str = "") -> PointSet:
    """Return the ten rows that have equivariance scores, with their task scores."""
    with as_file(files(__package__).joinpath("paper_tables.json")) as path:
        return read_points(path)
