"""The jobs behind the commands, one file each: the Python function that does what `equiview X` does."""
