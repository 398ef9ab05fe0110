# SPDX-License-Identifier: GPL-2.0-or-later
"""The thread that keeps one guest: it starts QEMU, reads consoles and witnesses, and makes calls for other threads.

The witnesses are read whatever the caller does, so that no log is full because a test computes or sleeps. QEMU is the
child of this thread and ends with it, and with the process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from snp_harness.errors import HarnessError
from snp_harness.guest.guest_errors import GuestEndedError, GuestStuckError, GuestTimeoutError
from snp_harness.launch.patience import STEP_S, Patience
from snp_harness.platforms.session import Ending, Session, phase_name

if TYPE_CHECKING:
    from snp_harness.firmware_run import PreparedBoot, RunResult
    from snp_harness.vm.rundir import RunDirectory

_T = TypeVar("_T")


class Keeper:
    """Keeps one boot. session: set by `start`; other threads use it in `call`, and read its collector and consoles."""

    session: Session

    def __init__(self, boot: PreparedBoot, directory: RunDirectory) -> None:
        self.boot = boot
        self.directory = directory
        self.ending: Ending | None = None
        self._calls: deque[tuple[Callable[[Session], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._turns = 0
        self._end_asked = False
        self._result: Future[RunResult] = Future()
        self._thread = threading.Thread(target=self._keep, name="snp-guest", daemon=True)

    def start(self, attach: Callable[[Session], None]) -> None:
        """Start the guest; attach: called once with its session, in the thread, before anything of it is read.

        Raises HarnessError if it cannot be started.
        """
        attached: Future[None] = Future()
        self._calls.append((attach, attached))
        self._thread.start()
        try:
            while not attached.done() and not self._result.done():
                self._pause(self._turns, STEP_S)
        except BaseException:
            # The user interrupts the start.
            self._end_asked = True
            raise
        if not attached.done():
            self._result.result()
        attached.result()

    def call(self, function: Callable[[Session], _T]) -> _T:
        """Call the function with the session, in the guest's thread; return its result, or raise its exception.

        Raises GuestEndedError if the guest has ended.
        """
        future: Future[_T] = Future()
        with self._changed:
            if self.ending is not None:
                raise self.gone()
            self._calls.append((function, future))
        self.session.running.machine.loop.wake()
        return future.result()

    def wait(self, check: Callable[[], _T | None], timeout_s: float, what: str) -> _T:
        """Call `check`, in the caller's thread, whenever something may have changed, until it returns a value.

        what: is waited for, in words. Raises GuestTimeoutError, GuestEndedError, GuestStuckError, GuestCrashError.
        """
        patience = Patience(timeout_s)
        while True:
            turns, over = self._turns, self.ending is not None
            found = check()
            if found is not None:
                return found
            if over:
                raise self.gone()
            self.raise_if_in_trouble()
            step_s = patience.step()
            if step_s <= 0:
                raise GuestTimeoutError(f"{what} was not seen in {timeout_s:g} s: {self._place()}", "allow more time")
            self._pause(turns, step_s)

    def raise_if_in_trouble(self) -> None:
        """Raise GuestCrashError if a console shows a crash, GuestStuckError if the guest cannot go on."""
        for console in self.session.running.machine.consoles.values():
            console.raise_if_crashed()
        if self.session.stuck:
            raise GuestStuckError(self.session.stuck, f"see {self.directory.path}")

    def end(self) -> RunResult:
        """End the guest, if it runs, and return what was seen, judged. Raises HarnessError if QEMU did not start."""
        self._end_asked = True
        if self.ending is None:
            self.session.running.machine.loop.wake()
        return self._result.result()

    def settle(self) -> None:
        """Wait until the rest of a guest that has ended was read."""
        self._result.exception()

    def gone(self) -> GuestEndedError:
        """Return the error of a guest that has ended."""
        assert self.ending is not None
        why = self.ending.gap or "it was powered off"
        return GuestEndedError(f"the guest has ended: {why}", f"see {self.directory.path}")

    def _keep(self) -> None:
        try:
            self._result.set_result(self.boot.follow(self.directory, self._hold))
        except BaseException as error:
            self._result.set_exception(error)
        finally:
            self._notify()

    def _hold(self, session: Session) -> Ending:
        self.session = session
        ending = Ending("the guest was not followed to its end")
        try:
            ending = session.hold(self._serve)
            return ending
        except HarnessError as error:
            ending = Ending(error.message, error)
            raise
        finally:
            with self._changed:
                self.ending = ending
            for _, future in self._calls:
                future.set_exception(self.gone())
            self._notify()

    def _serve(self) -> bool:
        while self._calls:
            function, future = self._calls.popleft()
            try:
                future.set_result(function(self.session))
            except BaseException as error:
                future.set_exception(error)
        self._notify()
        return not self._end_asked

    def _notify(self) -> None:
        with self._changed:
            self._turns += 1
            self._changed.notify_all()

    def _pause(self, turns: int, timeout_s: float) -> None:
        """Wait for a turn after the given one, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._turns != turns, timeout_s)

    def _place(self) -> str:
        running = self.session.running
        last = running.machine.console("serial").last_line
        said = f"the last line of its console is {last!r}" if last else "its console shows nothing"
        stage, phase = running.collector.svsm_stage, phase_name(running.collector.phase)
        where = f"the SVSM has not started it ({stage})" if stage else f"the guest is in {phase}"
        return f"{where}, {said}"
