"""Which reported document goes next, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microedge.upstream.reported import NEVER, Pace, ReportedDocuments

PACE = Pace(gather_s=1.0, interval_s=5.0, refresh_s=600.0, pause_s=3_600.0)
TOO_LARGE = "a packet of 20 bytes, the broker takes at most 10"


def connected(**documents: bytes) -> ReportedDocuments:
    """Return a connection at second 0 with these documents to send."""
    reported = ReportedDocuments(PACE)
    for module, document in documents.items():
        reported.put(module, document, -10.0)
    reported.connected(0.0)
    return reported


def send(reported: ReportedDocuments, now: float) -> tuple[str, bytes]:
    module = reported.next_module(now)
    return (module, reported.take(module, now)) if module else ("", b"")


def deliver(reported: ReportedDocuments, now: float) -> tuple[str, bytes]:
    sent = send(reported, now)
    if sent[0]:
        reported.acknowledged()
    return sent


def strike(reported: ReportedDocuments, now: float) -> tuple[str, str]:
    """Let the broker close over the next document; return its module and what there is to say."""
    module, _ = send(reported, now)
    news = reported.lost(now, is_blamed=True)
    reported.connected(now)
    return module, news


def test_the_first_reports_are_gathered_for_a_second():
    reported = connected()
    reported.put("a", b"1", 10.0)
    reported.put("a", b"2", 10.9)

    assert reported.due_at == 11.0
    assert send(reported, 10.99) == ("", b"")
    assert deliver(reported, 11.0) == ("a", b"2")
    assert (reported.due_at, reported.pending) == (NEVER, 0)


def test_one_module_sends_every_five_seconds_and_another_does_not_wait_for_it():
    reported = connected(a=b"1")
    deliver(reported, 0.0)
    reported.put("a", b"2", 0.5)
    reported.put("b", b"1", 0.5)

    assert deliver(reported, 1.5) == ("b", b"1")
    assert reported.due_at == 5.0
    assert deliver(reported, 5.0) == ("a", b"2")


def test_a_document_that_changes_while_it_is_under_way_goes_again():
    reported = connected(a=b"1")
    send(reported, 0.0)
    reported.put("a", b"2", 0.1)

    assert reported.next_module(100.0) == ""  # one at a time
    reported.acknowledged()

    assert reported.pending == 1
    assert deliver(reported, 5.0) == ("a", b"2")


def test_a_document_that_changes_back_while_it_is_under_way_needs_no_second_time():
    reported = connected(a=b"1")
    send(reported, 0.0)
    reported.put("a", b"2", 0.1)
    reported.put("a", b"1", 0.2)
    reported.acknowledged()

    assert (reported.due_at, reported.pending) == (NEVER, 0)


def test_the_same_document_again_is_nothing_to_send():
    reported = connected(a=b"1")
    deliver(reported, 0.0)
    reported.put("a", b"1", 10.0)

    assert reported.due_at == NEVER


def test_a_document_that_was_not_acknowledged_goes_again_on_the_next_connection():
    reported = connected(a=b"1")
    send(reported, 0.0)

    assert reported.lost(1.0, is_blamed=False) == ""
    reported.connected(2.0)

    assert reported.due_at == 5.0
    assert deliver(reported, 5.0) == ("a", b"1")


def test_what_the_broker_acknowledged_is_repeated_once_after_ten_minutes_on_another_connection():
    reported = connected(a=b"1")
    deliver(reported, 0.0)
    for now in (30.0, 60.0):
        reported.lost(now, is_blamed=False)
        reported.connected(now)

    assert reported.due_at == 600.0
    assert deliver(reported, 600.0) == ("a", b"1")
    assert reported.due_at == NEVER


def test_a_change_does_not_wait_for_the_repetition():
    reported = connected(a=b"1")
    deliver(reported, 0.0)
    reported.connected(30.0)
    reported.put("a", b"2", 40.0)

    assert reported.due_at == 41.0


def test_a_removed_document_is_sent_once_and_forgotten():
    reported = connected(a=b"")

    assert deliver(reported, 0.0) == ("a", b"")
    reported.connected(10_000.0)

    assert (reported.due_at, reported.pending) == (NEVER, 0)


def test_a_document_that_is_too_large_waits_for_another_or_for_another_connection():
    reported = connected(a=b"large")
    send(reported, 0.0)

    assert reported.oversize(TOO_LARGE)
    assert (reported.due_at, reported.pending, reported.problems) == (NEVER, 1, [f"a: reported: {TOO_LARGE}"])
    reported.connected(60.0)
    send(reported, 60.0)
    assert not reported.oversize(TOO_LARGE)  # said once
    reported.put("a", b"s", 70.0)

    assert deliver(reported, 71.0) == ("a", b"s")
    assert (reported.pending, reported.problems) == (0, [])


def test_what_the_broker_refuses_waits_for_another_connection_even_if_it_changes():
    reported = connected(a=b"1", b=b"1")
    send(reported, 0.0)

    assert reported.refused("refused: not authorized", 0.0, is_final=True)
    reported.put("a", b"2", 10.0)
    assert deliver(reported, 20.0) == ("b", b"1")
    assert send(reported, 9_999.0) == ("", b"")
    reported.connected(10_000.0)
    assert send(reported, 10_000.0) == ("a", b"2")
    assert not reported.refused("refused: not authorized", 10_000.0, is_final=True)  # said once


def test_a_refusal_that_passes_is_tried_again_on_the_same_connection():
    reported = connected(a=b"1")
    send(reported, 0.0)
    reported.refused("refused: quota exceeded", 0.0, is_final=False)

    assert reported.due_at == 600.0


def test_a_document_that_the_broker_closes_on_goes_behind_the_others_and_rests_after_three_times():
    reported = connected(a=b"1", b=b"1")
    struck, said = [], []
    for now in (0.0, 10.0, 20.0):
        reported.put("b", b"%d" % now, now - 2.0)
        if now:
            assert deliver(reported, now)[0] == "b"
        module, news = strike(reported, now)
        struck.append(module)
        said.append(news)
    reported.put("b", b"last", 30.0)

    assert struck == ["a", "a", "a"]
    assert said == ["", "", "a: the broker closes the connection when it gets this document"]
    assert deliver(reported, 31.0) == ("b", b"last")
    assert reported.due_at == 20.0 + PACE.pause_s


def test_after_an_hour_it_is_tried_once_and_rests_again_and_an_acknowledgement_ends_it():
    reported = connected(a=b"1")
    for now in (0.0, 10.0, 20.0):
        strike(reported, now)

    assert reported.due_at == 3_620.0
    assert strike(reported, 3_620.0) == ("a", "")
    assert reported.due_at == 7_220.0
    assert deliver(reported, 7_220.0) == ("a", b"1")
    assert reported.problems == []
    reported.put("a", b"2", 8_000.0)
    assert reported.due_at == 8_001.0


def test_a_broker_that_closes_on_every_document_does_so_three_times_and_not_for_each_module():
    reported = connected(**{f"m{number}": b"1" for number in range(20)})

    struck = [strike(reported, now)[0] for now in (0.0, 10.0, 20.0)]

    assert len(set(struck)) == 3
    assert reported.due_at == 20.0 + PACE.pause_s


def test_a_suspect_is_one_until_it_is_acknowledged():
    reported = connected(a=b"1")
    assert not reported.is_suspect("a")

    strike(reported, 0.0)
    assert reported.is_suspect("a")
    deliver(reported, 10.0)

    assert not reported.is_suspect("a")


def test_in_a_hurry_all_that_waits_goes_and_no_repetition():
    reported = connected(a=b"1", b=b"1")
    deliver(reported, 0.0)
    reported.connected(1.0)
    deliver(reported, 1.0)
    reported.put("b", b"2", 2.0)

    reported.hurry()

    assert deliver(reported, 2.0) == ("b", b"2")
    assert reported.due_at == NEVER


class Scene:
    """A device, a broker and what may happen between them."""

    def __init__(self) -> None:
        self.reported = connected()
        self.now = 0.0
        self.latest: dict[str, bytes] = {}
        self.broker: dict[str, bytes] = {}
        self.under_way = ("", b"")

    def put(self, module: str, number: int) -> None:
        self.latest[module] = b"%d" % number if number else b""
        self.reported.put(module, self.latest[module], self.now)

    def send(self) -> None:
        if not self.under_way[0]:
            self.under_way = send(self.reported, self.now)

    def ack(self) -> None:
        if self.arrive():
            self.reported.acknowledged()

    def refuse(self) -> None:
        if self.under_way[0]:
            self.under_way = ("", b"")
            self.reported.refused("no", self.now, is_final=True)

    def lose(self) -> None:
        """It arrived, the acknowledgement did not."""
        self.arrive()
        self.close(is_blamed=False)

    def close(self, *, is_blamed: bool = True) -> None:
        self.under_way = ("", b"")
        self.reported.lost(self.now, is_blamed=is_blamed)
        self.reported.connected(self.now)

    def wait(self) -> None:
        self.now += 700.0

    def arrive(self) -> str:
        (module, document), self.under_way = self.under_way, ("", b"")
        if module:
            self.broker[module] = document
        return module


ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("ab"), st.integers(0, 3)),
    st.sampled_from(["send", "ack", "lose", "close", "refuse", "wait"]).map(lambda name: (name,)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_whatever_happens_the_broker_ends_with_the_latest_document_of_each_module(actions):
    scene = Scene()
    for name, *arguments in actions:
        scene.now += 0.3
        getattr(scene, name)(*arguments)
    scene.close(is_blamed=False)
    for _ in range(20):
        scene.now += 10_000.0
        scene.send()
        scene.ack()

    documents = [{module: text for module, text in held.items() if text} for held in (scene.broker, scene.latest)]
    assert documents[0] == documents[1]
    assert (scene.reported.pending, scene.reported.due_at) == (0, NEVER)
