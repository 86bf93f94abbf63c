"""The one exception a user is meant to read."""


class EquiviewError(ValueError):
    """Bad input, an unusable file, or a run that cannot go on.

    The message says what was expected, what was found and what to do. The command line prints it alone,
    without a traceback, and exits with code 2.
    """


def bad_input(what: str, expected: str, found: str, fix: str) -> EquiviewError:
    """Build the error in the form every message of this package has.

    Args:
        what: The thing that is wrong, usually a path or a parameter name.
        expected: What it should have been.
        found: What it is.
        fix: What the reader can do about it.
    """
    return EquiviewError(f"{what}: expected {expected}, found {found}. {fix}")
