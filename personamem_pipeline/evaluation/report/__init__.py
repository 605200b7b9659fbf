"""The report page: one HTML file that a sceptical reviewer can read without anything else, and the same figures as data.

`view` lays the results out, `plots` draws them, `page` renders, `drill` prepares the questions shown one by one, `files`
writes everything, `markdown` sums up for Dagster. Nothing here computes a statistic: what the page says, results.json has.
"""

from personamem_pipeline.evaluation.report.files import write_report
from personamem_pipeline.evaluation.report.markdown import summary
from personamem_pipeline.evaluation.report.page import render, render_pool
from personamem_pipeline.evaluation.report.wording import NOTHING, p_value, percent

__all__ = ["NOTHING", "p_value", "percent", "render", "render_pool", "summary", "write_report"]
