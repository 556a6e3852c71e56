"""The life of an instance: every cell of the table, the restart policies, the pauses."""

from __future__ import annotations

import itertools

import pytest

from microedge.supervisor.lifecycle import TABLE, Action, Event, Exit, Failures, State, classify, step

S, E, A = State, Event, Action

SPAWN = (A.SPAWN,)
FRESH = (A.FORGET_FAILURES, A.SPAWN)
ASK = (A.ASK_TO_STOP,)
ASK_FRESH = (A.FORGET_FAILURES, A.ASK_TO_STOP)
DUMP = (A.DUMP_STACKS,)
KILL = (A.KILL,)
PAUSE = (A.WAIT_BACKOFF,)

EXITS = (E.EXIT_AGAIN, E.EXIT_DONE, E.EXIT_PERMANENT, E.SPAWN_FAILED)
BY_POLICY = {
    E.EXIT_AGAIN: (S.BACKOFF, PAUSE),
    E.EXIT_DONE: (S.STOPPED, ()),
    E.EXIT_PERMANENT: (S.FAILED, ()),
    E.SPAWN_FAILED: (S.BACKOFF, PAUSE),
}
ALIVE = {**BY_POLICY, E.STOP: (S.STOPPING, ASK), E.RESTART: (S.RESTARTING, ASK_FRESH)}
AT_REST = {E.START: (S.STARTING, FRESH), E.RESTART: (S.STARTING, FRESH)}

# What must happen. Whatever is not listed changes nothing.
EXPECTED = {
    S.STOPPED: AT_REST,
    S.FAILED: {**AT_REST, E.STOP: (S.STOPPED, ())},
    S.BACKOFF: {**AT_REST, E.STOP: (S.STOPPED, ()), E.BACKOFF_OVER: (S.STARTING, SPAWN)},
    S.STARTING: {**ALIVE, E.READY: (S.RUNNING, ()), E.READY_LATE: (S.UNHEALTHY, DUMP)},
    S.RUNNING: {**ALIVE, E.SILENT: (S.UNHEALTHY, DUMP)},
    S.UNHEALTHY: {**ALIVE, E.DUMP_LATE: (S.UNHEALTHY, KILL)},
    S.STOPPING: {
        **dict.fromkeys(EXITS, (S.STOPPED, ())),
        E.START: (S.RESTARTING, ()),
        E.RESTART: (S.RESTARTING, ()),
        E.STOP_LATE: (S.STOPPING, KILL),
    },
    S.RESTARTING: {
        **dict.fromkeys(EXITS, (S.STARTING, SPAWN)),
        E.STOP: (S.STOPPING, ()),
        E.STOP_LATE: (S.RESTARTING, KILL),
    },
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=lambda one: one.name.lower())
def test_every_cell_says_what_happens(state: State, event: Event):
    assert step(state, event) == EXPECTED[state].get(event, (state, ()))


def test_every_state_has_its_row():
    assert set(TABLE) == set(State)


@pytest.mark.parametrize("start", list(State))
def test_from_every_state_an_order_to_stop_and_an_exit_lead_to_a_stop_and_to_no_new_process(start: State):
    """The bug of other supervisors: a manually stopped service comes back."""
    state, actions = step(start, E.STOP)
    assert A.SPAWN not in actions
    for event in (E.STOP_LATE, E.READY, E.SILENT, E.READY_LATE, E.DUMP_LATE, E.BACKOFF_OVER, E.EXIT_AGAIN):
        state, actions = step(state, event)
        assert A.SPAWN not in actions

    assert state is S.STOPPED


NEVER, ON_FAILURE, ON_UNHEALTHY, ALWAYS = "never", "on-failure", "on-unhealthy", "always"
CLEAN, CODE_1, CONFIG = Exit(0), Exit(1), Exit(78)
KILLED, HUNG, HUNG_BUT_CLEAN = Exit(None, 9), Exit(None, 6, was_unhealthy=True), Exit(0, was_unhealthy=True)


@pytest.mark.parametrize(
    ("policy", "exit_", "expected"),
    [
        (NEVER, CLEAN, E.EXIT_DONE),
        (NEVER, CODE_1, E.EXIT_PERMANENT),
        (NEVER, KILLED, E.EXIT_PERMANENT),
        (NEVER, HUNG, E.EXIT_PERMANENT),
        (NEVER, HUNG_BUT_CLEAN, E.EXIT_DONE),
        (ON_FAILURE, CLEAN, E.EXIT_DONE),
        (ON_FAILURE, CODE_1, E.EXIT_AGAIN),
        (ON_FAILURE, KILLED, E.EXIT_AGAIN),
        (ON_FAILURE, HUNG, E.EXIT_AGAIN),
        (ON_FAILURE, HUNG_BUT_CLEAN, E.EXIT_DONE),
        (ON_UNHEALTHY, CLEAN, E.EXIT_DONE),
        (ON_UNHEALTHY, CODE_1, E.EXIT_AGAIN),
        (ON_UNHEALTHY, KILLED, E.EXIT_AGAIN),
        (ON_UNHEALTHY, HUNG, E.EXIT_AGAIN),
        (ON_UNHEALTHY, HUNG_BUT_CLEAN, E.EXIT_AGAIN),
        (ALWAYS, CLEAN, E.EXIT_AGAIN),
        (ALWAYS, CODE_1, E.EXIT_AGAIN),
        (ALWAYS, KILLED, E.EXIT_AGAIN),
        (ALWAYS, HUNG, E.EXIT_AGAIN),
        (ALWAYS, HUNG_BUT_CLEAN, E.EXIT_AGAIN),
        *((policy, CONFIG, E.EXIT_PERMANENT) for policy in (NEVER, ON_FAILURE, ON_UNHEALTHY, ALWAYS)),
    ],
)
def test_a_policy_decides_about_every_kind_of_exit(policy: str, exit_: Exit, expected: Event):
    assert classify(policy, exit_) is expected


def test_the_first_retry_comes_at_once_then_the_pauses_double_up_to_five_minutes():
    failures, delays = Failures(), []
    for _ in range(9):
        failures = failures.after_run(0.1)
        delays.append(failures.delay_s)

    assert delays == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_good_minutes_wipe_the_slate_and_a_second_less_does_not():
    failures = Failures(7)

    assert failures.after_run(600).delay_s == 0
    assert failures.after_run(599).delay_s == 300


def test_thousands_of_failures_are_no_problem():
    assert Failures(100_000).after_run(1).delay_s == 300


@pytest.mark.parametrize(
    ("exit_", "words", "code"),
    [
        (CODE_1, "exited with code 1", 1),
        (KILLED, "killed by SIGKILL", 137),
        (Exit(None, 45), "killed by signal 45", 173),
    ],
)
def test_an_exit_says_itself_in_words_and_as_one_number(exit_: Exit, words: str, code: int):
    assert (exit_.text(), exit_.as_code) == (words, code)
