"""Judging open answers: the rubrics, the panel that applies them, how reliable it is, and what people say instead."""
