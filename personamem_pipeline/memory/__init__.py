"""The memory itself: how a chat is cut, what the model is asked, and how a memory is kept.

The writer is causal by type: nothing in this room that writes a memory takes a question.
"""
