# SPDX-License-Identifier: GPL-2.0-or-later
"""The signals that end a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.launch.interrupts import ENDING_SIGNALS, Interrupts, Terminated


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    made = Interrupts()
    with made.handled(ends=False):
        yield made


def test_the_first_signal_raises_at_once_and_later_ones_are_ignored(interrupts: Interrupts) -> None:
    with pytest.raises(Terminated) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_status == 128 + signal.SIGTERM
    for number in ENDING_SIGNALS:
        signal.raise_signal(number)
    assert interrupts.first is caught.value


def test_the_first_of_two_that_are_seen_together(interrupts: Interrupts) -> None:
    """Python calls the handler of SIGINT, the smaller number, first; the pipe has the order of their arrival."""
    pipe = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    # Signals that are not handled are in it, too.
    os.write(pipe, bytes((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)))
    with pytest.raises(Terminated) as caught:
        interrupts.arrive(signal.SIGINT)
    assert caught.value.exit_status == 128 + signal.SIGTERM


def test_the_exit_status_after_an_interrupt_of_an_import(tmp_path: Path) -> None:
    """A dataclass is made by exec() of a string."""
    (tmp_path / "interrupted_import.py").write_text(
        """
import signal
import sys

from snp_harness.launch.interrupts import INTERRUPTS


def status():
    with INTERRUPTS.handled(ends=True):
        try:
            exec("signal.raise_signal(signal.SIGINT)")
        except KeyboardInterrupt as interrupt:
            return interrupt.exit_status


sys.exit(status())
"""
    )
    ended = subprocess.run([sys.executable, "-m", "interrupted_import"], cwd=tmp_path, timeout=60)
    assert ended.returncode == 128 + signal.SIGINT


def run(interrupts: Interrupts, held_by: Callable[[], None]) -> Iterator[str]:
    with interrupts.scope():
        held_by()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        yield "kept"


def test_a_held_one_is_raised_at_the_end_of_the_scope(interrupts: Interrupts) -> None:
    steps = run(interrupts, interrupts.hold)
    assert next(steps) == "kept"
    with pytest.raises(Terminated) as caught:
        next(steps)
    assert caught.value.exit_status == 128 + signal.SIGINT


def test_a_held_one_that_is_taken_is_not_raised_again(interrupts: Interrupts) -> None:
    with interrupts.scope():
        assert interrupts.take() is None
        interrupts.hold()
        assert interrupts.take() is None
        signal.raise_signal(signal.SIGHUP)
        taken = interrupts.take()
        assert isinstance(taken, Terminated)
        assert taken.exit_status == 128 + signal.SIGHUP
    signal.raise_signal(signal.SIGTERM)


def test_nothing_is_held_without_a_scope_or_for_another_thread(interrupts: Interrupts) -> None:
    def hold_in_another() -> None:
        thread = threading.Thread(target=interrupts.hold)
        thread.start()
        thread.join()

    interrupts.hold()
    with pytest.raises(KeyboardInterrupt):
        next(run(interrupts, hold_in_another))


def test_one_that_an_object_s_end_has_swallowed_is_raised_by_the_run(interrupts: Interrupts) -> None:
    """Python prints an exception of __del__ and goes on."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.scope():
        pass


def test_what_is_handled_afterwards() -> None:
    before = [signal.getsignal(number) for number in ENDING_SIGNALS]
    interrupts = Interrupts()
    try:
        with interrupts.handled(ends=True):
            pass
        assert [signal.getsignal(number) for number in ENDING_SIGNALS] == before
        with pytest.raises(Terminated), interrupts.handled(ends=True):
            signal.raise_signal(signal.SIGHUP)
        assert {signal.getsignal(number) for number in ENDING_SIGNALS} == {signal.SIG_IGN}
    finally:
        for number, handler in zip(ENDING_SIGNALS, before, strict=True):
            signal.signal(number, handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.handled(ends=False):
            signal.raise_signal(signal.SIGHUP)
            assert interrupts.first is None
    finally:
        signal.signal(signal.SIGHUP, before[ENDING_SIGNALS.index(signal.SIGHUP)])
