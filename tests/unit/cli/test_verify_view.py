from __future__ import annotations

from microedge.cli.terminal import Look
from microedge.cli.verify_analysis import Analysis, Sighting
from microedge.cli.verify_view import MAX_GAPS, Findings, document_of, render


def findings_of(*seen: tuple[str, int, int], device: str = "", **rest: object) -> Findings:
    analysis = Analysis()
    for session, sequence, elsewhere in seen:
        analysis.take(Sighting(device, "probe", session, sequence, elsewhere, -1))
    return Findings(analysis.runs, **rest)  # type: ignore[arg-type]


def test_what_is_complete_says_so_in_one_line():
    assert render(findings_of(("a", 1, 0), ("a", 2, 0), ("a", 2, 0)), Look()).splitlines() == [
        "MODULE  RUNS  RECEIVED  DUPLICATES  LATE  MISSING",
        "probe      1         2           1     0        0",
        "",
        "complete: 2 messages in 1 run; nothing is missing between the first and the last message of each",
    ]


def test_what_is_missing_is_named():
    seen = [("a", 1, 0), ("a", 3, 0), ("a", 6, 0), ("a", 11, 3), ("b", 2, 0)]

    assert render(findings_of(*seen, device="hall-3"), Look()).splitlines() == [
        "DEVICE  MODULE  RUNS  RECEIVED  DUPLICATES  LATE  MISSING",
        "hall-3  probe      2         5           0     0        5",
        "",
        "missing of probe, run a:",
        "  2",
        "  4-5 (2)",
        "  1 of 7-10",
        "missing of probe, run b:",
        "  1",
        "",
        "MISSING: 5 messages; 5 messages in 2 runs arrived",
    ]


def test_how_far_it_can_be_relied_on_is_said():
    findings = findings_of(("a", 57, 0), unreadable=2, named=["f:3 (no JSON)"], foreign=1, notes=["a note"])

    assert render(findings, Look()).splitlines()[3:7] == [
        "run a of probe was seen from 57 on: 56 messages before that may be older than the recording",
        "2 lines that cannot be read: f:3 (no JSON); and 1 more",
        "1 message without a message id: of others, or MQTT 3.1.1 without envelope",
        "a note",
    ]


def test_more_gaps_than_a_person_reads_are_counted():
    findings = findings_of(*[("a", number, 0) for number in range(1, 2 * MAX_GAPS + 20, 2)])

    assert "  and 9 gaps more: --json shows them all" in render(findings, Look()).splitlines()
    assert len(document_of(findings)["runs"][0]["gaps"]) == MAX_GAPS + 9


def test_the_document_has_everything():
    assert document_of(findings_of(("a", 2, 1), ("a", 4, 1), foreign=3)) == {
        "is_complete": False,
        "received": 2,
        "duplicates": 0,
        "missing": 1,
        "unreadable": 0,
        "foreign": 3,
        "notes": [],
        "runs": [
            {
                "device": "",
                "module": "probe",
                "run": "a",
                "first": 2,
                "last": 4,
                "first_created": None,
                "last_created": None,
                "received": 2,
                "duplicates": 0,
                "late": 0,
                "missing": 1,
                "unknown_before": 0,
                "gaps": [{"missing": 1, "first": 3, "last": 3, "after": None, "before": None}],
            }
        ],
    }
