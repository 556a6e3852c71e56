"""Why a test waits in vain: everything that its author would look for next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from microedge.errors import printable
from microedge.message import Message
from microedge.names import input_endpoint
from microedge.sdk.testing.instance import PlayedInstance
from microedge.sdk.testing.log import LogLine
from microedge.sdk.testing.reactor import START_S
from microedge.sdk.testing.site import Site

_LINES = 20  # of the log


def why_nothing_came(
    site: Site, instance: PlayedInstance, output: str, sent: Mapping[str, Sequence[Message]], log: Sequence[LogLine]
) -> str:
    """Return a text of several lines: what there is instead, what the module does, what it has said."""
    facts = [
        f"module {instance.name} has sent nothing on {output!r} that was not taken; {site.elapsed_s:g} s have passed",
        *(_of_output(name, messages) for name, messages in sent.items() if messages),
        f"  it {_activity(instance)}",
        *_of_inputs(site, instance),
    ]
    if log:
        facts.append("  its log:")
        facts += [f"    {line.level[0].upper()} {line}" for line in log[-_LINES:]]
    return "\n".join(facts)


def _of_output(name: str, messages: Sequence[Message]) -> str:
    return f"  sent on {name!r}, not taken: {len(messages)}, the last {printable(messages[-1].body)}"


def _activity(instance: PlayedInstance) -> str:
    strand = instance.strand
    if strand is None:
        return "has not been started: use the hub in a with statement"
    if strand.is_over:
        error = strand.error
        return f"has ended with code {instance.exit_code}: {printable(repr(error)) if error else 'main returned'}"
    until = f"until {strand.wake_s - START_S:g} s" if strand.wake_s < math.inf else "for something to come"
    called = "" if instance.is_ready else ", and has not called ready(), so nothing is delivered to it"
    return f"waits {until}{called}; it is at\n{strand.stack().rstrip()}"


def _of_inputs(site: Site, instance: PlayedInstance) -> list[str]:
    found = {name: site.queue.waiting(input_endpoint(instance.name, name)) for name in instance.plan.image.inputs}
    return [f"  waiting for its input {name!r}: {len(messages)}" for name, messages in found.items() if messages]
