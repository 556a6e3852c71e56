"""Whatever somebody above sends to GetModuleLogs: an answer within the limit, or ValueError."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from microedge.supervisor.agent_logs import MAX_ANSWER_BYTES, LogRequest, answer_of
from microedge.supervisor.logs import Line

FILTER_KEYS = ("tail", "since", "until", "regex", "loglevel")

texts = st.text(max_size=12) | st.sampled_from(
    [
        "pump",
        ".*",
        "1d",
        "90m",
        "2023-11-14T22:13:00Z",
        "2023-02-30T00:00:00Z",
        "2023-01-01T00:00:00+99:99",
        "gzip",
        "json",
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
values = st.none() | st.integers(0, 7) | texts | anything
filters = st.fixed_dictionaries({}, optional=dict.fromkeys(FILTER_KEYS, values))
items = st.lists(st.fixed_dictionaries({"id": texts}, optional={"filter": filters | anything}) | anything, max_size=3)
requests = st.fixed_dictionaries(
    {"items": items | anything}, optional={"encoding": texts | anything, "contentType": texts | anything}
)
lines = st.lists(st.builds(Line, st.integers(0, 2**43), st.integers(0, 7), st.text(max_size=200)), max_size=30)


@settings(deadline=None)
@given(requests, st.dictionaries(st.sampled_from(["pump", "valve", "edgeAgent"]), lines))
def test_any_request_is_answered_or_refused(request, logs):
    try:
        answer = answer_of(LogRequest.parse(request, 1_700_000_000_000), logs, "d")
    except ValueError:
        return

    assert len(json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")) <= MAX_ANSWER_BYTES
    assert {entry["id"] for entry in answer} <= logs.keys()
