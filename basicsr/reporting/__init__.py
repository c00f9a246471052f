"""What an evaluation leaves behind: rows, tables, files, pictures, the gallery, and comparisons of two runs.

How an evaluation uses it (every process does the first part, rank 0 alone the second)::

    definitions = [definition_of('psnr', psnr), definition_of('mcr', mcr)]
    with RowWriter(folder, 'GoPro', definitions, total=len(dataset), pictures=Pictures(), rank=rank) as rows:
        for ...:
            rows.add(index=index, name=name, lq=lq, output=output, gt=gt, labels=labels, scores={'psnr': 32.8}, ...)
    # barrier
    facts = facts_of_run('SAMDeblur', network='SegNAFNet', options=file, checkpoint=path, device=str(device))
    report = join(folder, facts, 'GoPro', definitions, total=len(dataset), pictures=Pictures(), ranks=world_size)
    write_report(folder, report)
    write_summary(folder, [report])
    write_gallery(folder, [report])
"""

from basicsr.reporting.comparison import Comparison, Difference, bootstrap_interval, compare
from basicsr.reporting.files import read_csv, read_report, read_reports, write_report
from basicsr.reporting.gallery import GALLERY, write_comparison, write_gallery
from basicsr.reporting.pictures import Pictures
from basicsr.reporting.records import (
    MCR,
    Average,
    Definition,
    ImageRow,
    Report,
    RunFacts,
    definition_of,
    facts_of_run,
)
from basicsr.reporting.row_writer import RowWriter, join
from basicsr.reporting.tables import Table, comparison_notes, comparison_table, summary_table, write_summary

__all__ = [
    'GALLERY',
    'MCR',
    'Average',
    'Comparison',
    'Definition',
    'Difference',
    'ImageRow',
    'Pictures',
    'Report',
    'RowWriter',
    'RunFacts',
    'Table',
    'bootstrap_interval',
    'compare',
    'comparison_notes',
    'comparison_table',
    'definition_of',
    'facts_of_run',
    'join',
    'read_csv',
    'read_report',
    'read_reports',
    'summary_table',
    'write_comparison',
    'write_gallery',
    'write_report',
    'write_summary',
]
