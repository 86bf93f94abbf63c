"""Objects and data sets made at run time: no download, every truth exact."""
