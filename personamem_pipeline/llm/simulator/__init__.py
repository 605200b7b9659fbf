"""The embedded default model: a deterministic, rule-based simulator of users, authors, readers and judges.

It is not a language model and does not pretend to be one. It stands behind the real `openai` client (in process through
httpx's ASGI transport, or over HTTP with `python -m personamem_pipeline.llm.simulator`), so that the demo and the tests
exercise the same code path as a real endpoint. Rows it wrote say `simulator/1` as their author.
"""
