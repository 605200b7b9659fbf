"""The evaluation room: systems under test and their controls, scoring, statistics, judge and report.

It knows the memory room and the questions room, and never training. torch is imported only by `evaluation.__main__`,
so that statistics, scoring and report can be used (and tested) without it.
"""
