"""Tables of readings: a CSV file as it is found in real life becomes columns of numbers on a grid of time."""

from zoo.tables.file import MISSING, TableFile, open_table
from zoo.tables.grid import Fill, Table, TableReport
from zoo.tables.reading import read_table

__all__ = ["MISSING", "Fill", "Table", "TableFile", "TableReport", "open_table", "read_table"]
