"""Readings as a CSV table, a JSON document or a Parquet file, written row by row."""

from kellgren.reading_tables.csv_table import COLUMNS as COLUMNS
from kellgren.reading_tables.csv_table import LOCAL_CALIBRATION as LOCAL_CALIBRATION
from kellgren.reading_tables.csv_table import OVERLAY as OVERLAY
from kellgren.reading_tables.csv_table import CsvTable as CsvTable
from kellgren.reading_tables.csv_table import csv_text as csv_text
from kellgren.reading_tables.json_document import JsonDocument as JsonDocument
from kellgren.reading_tables.json_document import json_text as json_text
from kellgren.reading_tables.parquet_table import ParquetTable as ParquetTable
from kellgren.reading_tables.parquet_table import pyarrow_library as pyarrow_library
