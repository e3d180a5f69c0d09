"""The answer of a study, and the page that shows it with everything it rests on."""

from selfsup.report.assets import write_assets
from selfsup.report.page import write_report
from selfsup.report.selection import answer_table, choose
from selfsup.report.verdict import Answer, answer

__all__ = ["Answer", "answer", "answer_table", "choose", "write_assets", "write_report"]
