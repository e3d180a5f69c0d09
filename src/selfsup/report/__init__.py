"""The answer of a study, and the page that shows it with everything it rests on."""

from selfsup.report.assets import write_assets
from selfsup.report.findings import Answer
from selfsup.report.page import write_report
from selfsup.report.selection import choose
from selfsup.report.table import answer_table, headline
from selfsup.report.verdict import answer

__all__ = ["Answer", "answer", "answer_table", "choose", "headline", "write_assets", "write_report"]
