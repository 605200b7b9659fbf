"""Engines that turn prompts into text: transformers (CPU default), scripted (tests). One interface, in `base`."""
