"""For all tests: hypothesis has no deadline, as a busy machine is no fault of the code; and signals are as at a terminal."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")

# What a script starts in the background begins with SIGINT ignored. Dagster then lets SIGTERM be ignored, too
# (dagster._utils.interrupts), and so do all processes that a test starts: they end by SIGKILL, half a minute later.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
