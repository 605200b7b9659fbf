"""Statistics of answers that come in clusters: intervals, paired tests, corrections, power, agreement of judges.

Each module teaches the statistic it computes and says where it is from. Nothing is imported here: the table of totals
alone should not cost the import of statsmodels.
"""
