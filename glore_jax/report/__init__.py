"""The report of a run: typed figures, and from them tables, plots and one page."""
