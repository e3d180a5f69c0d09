"""The answer of a study, and the page that shows it with everything it rests on."""

from selfsup.report.assets import write_assets
from selfsup.report.export import export_figures, write_markdown, write_pdf
from selfsup.report.findings import Answer
from selfsup.report.page import write_report
from selfsup.report.selection import choose, superfluous_weights
from selfsup.report.side_by_side import export_comparison, write_comparison
from selfsup.report.table import answer_table, headline
from selfsup.report.verdict import answer

__all__ = [
    "Answer",
    "answer",
    "answer_table",
    "choose",
    "export_comparison",
    "export_figures",
    "headline",
    "superfluous_weights",
    "write_assets",
    "write_comparison",
    "write_markdown",
    "write_pdf",
    "write_report",
]
