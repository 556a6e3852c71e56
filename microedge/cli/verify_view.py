"""The outcome of `microedge verify` as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from microedge.cli import table
from microedge.cli.terminal import Look, clean
from microedge.cli.units import clock, count
from microedge.cli.verify_analysis import Run
from microedge.cli.verify_spans import Gap

MAX_GAPS = 50  # what a person reads; --json has all
MAX_NAMED = 5  # lines that are no message, runs that began before

_COLUMNS = (
    table.Column("DEVICE", 8),
    table.Column("MODULE", 12),
    table.Column("RUNS", is_number=True),
    table.Column("RECEIVED", is_number=True),
    table.Column("DUPLICATES", is_number=True),
    table.Column("LATE", is_number=True),
    table.Column("MISSING", is_number=True),
)


@dataclass
class Findings:
    """What a recording held. `notes` are sentences about how far it can be relied on."""

    runs: Sequence[Run] = ()
    unreadable: int = 0  # lines that are no message at all
    named: list[str] = field(default_factory=list)  # the first of them: "FILE:LINE: why"
    foreign: int = 0  # messages without a message id
    notes: list[str] = field(default_factory=list)

    @property
    def received(self) -> int:
        return sum(run.received for run in self.runs)

    @property
    def missing(self) -> int:
        return sum(run.missing for run in self.runs)


def document_of(findings: Findings) -> dict[str, Any]:
    """Return the outcome for programs."""
    return {
        "is_complete": not findings.missing,
        "received": findings.received,
        "duplicates": sum(run.duplicates for run in findings.runs),
        "missing": findings.missing,
        "unreadable": findings.unreadable,
        "foreign": findings.foreign,
        "notes": [*findings.named, *findings.notes],
        "runs": [_run_document(run) for run in findings.runs],
    }


def render(findings: Findings, look: Look) -> str:
    """Return the table, the gaps, the notes and the verdict as text."""
    lines = [*_table_lines(findings.runs, look), ""]
    lines += [*gaps, ""] if (gaps := list(_gap_lines(findings.runs))) else []
    lines += [*notes, ""] if (notes := list(_note_lines(findings))) else []
    return look.plain("\n".join([*lines, _verdict(findings, look)]))


def _table_lines(runs: Sequence[Run], look: Look) -> list[str]:
    of_module: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        of_module.setdefault((run.device, run.module), []).append(run)
    rows = [_row(device, module, of_module[device, module]) for device, module in sorted(of_module)]
    skipped = 0 if any(run.device for run in runs) else 1
    for row in rows:
        row.cells = row.cells[skipped:]
        row.styles = {len(row.cells) - 1: row.styles[0]}
    return table.render(look, _COLUMNS[skipped:], rows)


def _row(device: str, module: str, runs: Sequence[Run]) -> table.Row:
    missing = sum(run.missing for run in runs)
    numbers = [len(runs), *(sum(getattr(run, name) for run in runs) for name in ("received", "duplicates", "late"))]
    cells = [clean(device) or "-", clean(module), *(f"{number:,}" for number in [*numbers, missing])]
    return table.Row(cells, {0: "red" if missing else "green"})


def _gap_lines(runs: Sequence[Run]) -> Iterator[str]:
    left_out = shown = 0
    for run in runs:
        if not run.missing:
            continue
        if shown < MAX_GAPS:
            yield f"missing of {clean(run.module)}, run {clean(run.session)}:"
        for gap in run.gaps():
            shown += 1
            if shown <= MAX_GAPS:
                yield f"  {_gap_text(gap)}"
            else:
                left_out += 1
    if left_out:
        yield f"  and {count(left_out, 'gap')} more: --json shows them all"


def _gap_text(gap: Gap) -> str:
    span = f"{gap.first}" if gap.first == gap.last else f"{gap.first}-{gap.last}"
    if gap.missing < gap.last - gap.first + 1:
        span = f"{gap.missing:,} of {span}"
    elif gap.missing > 1:
        span += f" ({gap.missing:,})"
    if gap.before_ms < 0:
        return span
    if gap.after_ms < 0:
        return f"{span}, made before {clock(gap.before_ms)}, at the beginning of the run"
    return f"{span}, made between {clock(gap.after_ms)} and {clock(gap.before_ms)}"


def _note_lines(findings: Findings) -> Iterator[str]:
    begun_before = [run for run in findings.runs if run.unknown]
    for run in begun_before[:MAX_NAMED]:
        yield (
            f"run {clean(run.session)} of {clean(run.module)} was seen from {run.spans.first_sequence} on: "
            f"{count(run.unknown, 'message')} before that may be older than the recording"
        )
    if len(begun_before) > MAX_NAMED:
        yield f"so were {count(len(begun_before) - MAX_NAMED, 'run')} more"
    if findings.unreadable:
        rest = findings.unreadable - len(findings.named)
        more = f"; and {rest:,} more" if rest else ""
        yield f"{count(findings.unreadable, 'line')} that cannot be read: {'; '.join(findings.named)}{more}"
    if findings.foreign:
        yield f"{count(findings.foreign, 'message')} without a message id: of others, or MQTT 3.1.1 without envelope"
    yield from findings.notes


def _verdict(findings: Findings, look: Look) -> str:
    what = f"{count(findings.received, 'message')} in {count(len(findings.runs), 'run')}"
    if findings.missing:
        return look.paint(f"MISSING: {count(findings.missing, 'message')}", "red") + f"; {what} arrived"
    tail = "nothing is missing between the first and the last message of each"
    return look.paint("complete", "green") + f": {what}; {tail}"


def _run_document(run: Run) -> dict[str, Any]:
    spans = run.spans
    return {
        "device": run.device,
        "module": run.module,
        "run": run.session,
        "first": spans.first_sequence,
        "last": spans.last_sequence,
        "first_created": _iso(spans.first_ms),
        "last_created": _iso(spans.last_ms),
        "received": run.received,
        "duplicates": run.duplicates,
        "late": run.late,
        "missing": run.missing,
        "unknown_before": run.unknown,
        "gaps": [
            {
                "missing": gap.missing,
                "first": gap.first,
                "last": gap.last,
                "after": _iso(gap.after_ms),
                "before": _iso(gap.before_ms),
            }
            for gap in run.gaps()
        ],
    }


def _iso(epoch_ms: int) -> str | None:
    if epoch_ms < 0:
        return None
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
