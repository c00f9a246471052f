"""Reports of evaluations: rows, tables, files, image galleries, and comparisons of runs.

Every process adds its images to a :class:`RowWriter`. After a barrier, rank 0 calls :func:`join`,
:func:`write_report`, :func:`write_summary` and :func:`write_gallery`. docs/reports.md has a complete example.
"""

from basicsr.reporting.comparison import Comparison, Difference, compare
from basicsr.reporting.files import read_report, read_reports, write_report
from basicsr.reporting.gallery import GALLERY, write_gallery, write_runs_page
from basicsr.reporting.images import KeptImages
from basicsr.reporting.report import MCR, Definition, ImageRow, Report, RunFacts, definition_of, facts_of_run
from basicsr.reporting.row_writer import RowWriter, join
from basicsr.reporting.several_runs import RunsComparison, compare_runs
from basicsr.reporting.several_tables import runs_table, write_tables
from basicsr.reporting.statistics import Estimate, bootstrap_interval, holm, scene_estimate, sign_flip_p_value
from basicsr.reporting.tables import Table, summary_table, write_summary

__all__ = [
    'GALLERY',
    'MCR',
    'Comparison',
    'Definition',
    'Difference',
    'Estimate',
    'ImageRow',
    'KeptImages',
    'Report',
    'RowWriter',
    'RunFacts',
    'RunsComparison',
    'Table',
    'bootstrap_interval',
    'compare',
    'compare_runs',
    'definition_of',
    'facts_of_run',
    'holm',
    'join',
    'read_report',
    'read_reports',
    'runs_table',
    'scene_estimate',
    'sign_flip_p_value',
    'summary_table',
    'write_gallery',
    'write_report',
    'write_runs_page',
    'write_summary',
    'write_tables',
]
