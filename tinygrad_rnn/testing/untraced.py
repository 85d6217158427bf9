"""A pause of hypothesis' line tracer, which runs once a property test has failed.

Its purpose is to explain a failure by the lines of the test, but it makes every line of this package and of hypothesis
itself ten times slower.  Other tracers (coverage, debuggers) are left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["untraced"]


@contextmanager
def untraced() -> Iterator[None]:
    """Run the body without hypothesis' tracer."""
    if hasattr(sys, "monitoring"):  # Python 3.12 and later, where hypothesis registers a tool named "scrutineer"
        monitoring = sys.monitoring
        # The interpreter has places for six tools.
        tool = next((k for k in range(6) if monitoring.get_tool(k) == "scrutineer"), None)
        events = 0 if tool is None else monitoring.get_events(tool)
        if tool is None or not events:
            yield
            return
        monitoring.set_events(tool, 0)
        try:
            yield
        finally:
            monitoring.set_events(tool, events)
        return
    tracer = sys.gettrace()
    # An older hypothesis, or no tracer at all.
    if type(getattr(tracer, "__self__", None)).__module__ != "hypothesis.internal.scrutineer":
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
