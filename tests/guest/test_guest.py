# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest that runs offers, on a guest that answers on its serial port, and on firmware."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from snp_harness.apic.access import Operation, Phase
from snp_harness.apic.verdict import Status
from snp_harness.errors import HarnessError, UnsupportedError
from snp_harness.guest.guest import Guest, boot
from snp_harness.guest.guest_errors import GuestEndedError, GuestTimeoutError
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import (
    ConsoleError,
    ConsoleTimeoutError,
    GuestCrashError,
    QemuDiedError,
    QemuError,
    QmpCommandError,
)
from tests.guest.inside import ON_EVERY_PLATFORM
from tests.vm.processes import children, is_running


def qemu_of(guest: Guest) -> int:
    return guest._keeper.session.running.machine.pid


@pytest.mark.tcg
class TestConsole:
    def test_expect_and_send(self, echo: Guest) -> None:
        assert echo.console.expect(["nothing like it", r"re(a)dy"]) == 1
        assert (echo.console.before, echo.console.after) == ("", "ready")
        assert echo.console.match is not None
        assert echo.console.match[1] == "a"
        echo.console.send("one two")
        assert echo.wait_for(re.compile("ONE", re.IGNORECASE))[0] == "one"
        echo.console.expect_exact("two")
        echo.console.sendline("(three)")
        echo.console.expect_exact(["(four)", "(three)"])
        assert echo.console.text.startswith("ready\r\none two(three)")
        assert echo.console.last_line.endswith("(three)")

    def test_a_timeout_names_the_pattern_and_the_last_line(self, echo: Guest) -> None:
        echo.wait_for("ready")
        started = time.monotonic()
        with (
            echo.console.temporary_timeout(0.1),
            pytest.raises(ConsoleTimeoutError, match=r"'never' did not appear .* 0.1 s, .*'ready'"),
        ):
            echo.console.expect("never")
        assert time.monotonic() - started < 30
        assert echo.console.timeout_s == 60

    def test_a_bad_pattern_fails_every_wait_at_once(self, echo: Guest) -> None:
        with echo.console.bad_patterns("o(ops)"):
            echo.console.send("so: oops")
            with pytest.raises(GuestCrashError, match="serial console shows: oops"):
                echo.wait_for("never")
            with pytest.raises(GuestCrashError):
                echo.wait_for(Phase.OS)
        # What was printed before the block ended is forgotten after it.
        echo.console.send("!")
        echo.wait_for("!")

    def test_patterns_of_crashes_can_be_left_out(self, echo: Guest) -> None:
        panic = "Kernel panic - not syncing: x\n"
        with echo.console.bad_patterns(only=True):
            echo.console.send(f"{panic}.")
            echo.wait_for(r"\.")
        echo.console.send(panic)
        with pytest.raises(GuestCrashError, match="Kernel panic"):
            echo.wait_for("never")

    def test_much_is_printed_while_the_caller_does_something_else(self, echo: Guest) -> None:
        sent = "".join(f"{number}\n" for number in range(3000))
        echo.console.send(sent)
        echo.console.expect("2999\n")
        assert echo.console.before.replace("\r", "").endswith("2998\n")

    def test_no_console_of_an_svsm(self, echo: Guest) -> None:
        with pytest.raises(UnsupportedError, match=r"the platform tcg cannot show the SVSM's console: .* no SVSM"):
            _ = echo.svsm_console


@pytest.mark.tcg
class TestMonitor:
    def test_pause_and_resume(self, echo: Guest) -> None:
        echo.wait_for("ready")
        states = [echo.paused]
        echo.pause()
        assert [*states, echo.paused] == [False, True]
        assert echo.qmp.wait_event("STOP").name == "STOP"
        echo.console.send("x")
        with pytest.raises(ConsoleTimeoutError):
            echo.console.expect("x", 0.1)
        echo.resume()
        echo.console.expect("x")
        assert echo.running

    def test_qmp_is_typed(self, echo: Guest) -> None:
        assert echo.qmp.query("query-uuid", dict[str, str]).keys() == {"UUID"}
        with pytest.raises(QemuError, match="QEMU answered query-uuid with something else"):
            echo.qmp.query("query-uuid", list[int])
        with pytest.raises(QmpCommandError, match="refused the QMP command nonsense"):
            echo.qmp.execute("nonsense")
        assert "EIP" in echo.qmp.monitor("info registers")
        with pytest.raises(GuestTimeoutError, match=r"QEMU sent no event NONE in 0.1 s"):
            echo.qmp.wait_event("NONE", 0.1)


@pytest.mark.tcg
class TestEnd:
    def test_it_is_ended_judged_and_kept(self, echo: Guest) -> None:
        echo.wait_for("ready")
        qemu = qemu_of(echo)
        result = echo.power_off()
        assert not is_running(qemu)
        assert not echo.running
        assert result.directory == echo.directory
        assert {rundir.TIMELINE, rundir.VERDICT, rundir.SERIAL} <= {path.name for path in echo.directory.iterdir()}
        # A guest that never left SEC was not seen to the end of SEC.
        assert result.verdict.status is Status.INCONCLUSIVE
        assert "the guest was ended in the reset vector" in result.timeline.gaps[0]
        assert echo.verdict() == result.verdict
        assert echo.timeline() == result.timeline
        assert echo.power_off() is result
        for ask in (echo.pause, lambda: echo.console.send("x"), lambda: echo.wait_for(Phase.OS)):
            with pytest.raises(GuestEndedError, match="the guest has ended"):
                ask()
        with pytest.raises(ConsoleError, match="ended before 'x' appeared"):
            echo.wait_for("x")

    def test_a_reset_boots_again_in_a_directory_of_its_own(self, echo: Guest) -> None:
        for _ in range(2):
            echo.wait_for("ready")
            echo.reset()
        echo.wait_for("ready")
        echo.power_off()
        assert [result.directory.name for result in echo.boots] == ["out", "out-2", "out-3"]
        assert all((result.directory / rundir.VERDICT).is_file() for result in echo.boots)

    def test_a_guest_that_resets_itself_has_ended(self, echo: Guest) -> None:
        echo.wait_for("ready")
        echo.qmp.execute("system_reset")
        assert echo.wait_ended().timeline.gaps == ("the guest reset or powered off in the reset vector",)
        echo.reset()
        echo.wait_for("ready")

    def test_a_qemu_that_dies_fails_the_wait_and_the_end(self, tmp_path: Path, echo_firmware: Path) -> None:
        before = children()

        def killed() -> None:
            with boot(echo_firmware, platform="tcg", out=tmp_path / "out", timeout_s=60) as guest:
                guest.wait_for("ready")
                os.kill(qemu_of(guest), signal.SIGKILL)
                with pytest.raises(GuestEndedError, match=r"QEMU died .* signal 9"):
                    guest.wait_for(Phase.OS)
                with pytest.raises(GuestEndedError):
                    guest.qmp.execute("query-status")

        with pytest.raises(QemuDiedError, match="signal 9"):
            killed()
        assert (tmp_path / "out" / rundir.VERDICT).is_file()
        assert children() == before

    @pytest.mark.parametrize("error", [AssertionError("the test's"), KeyboardInterrupt()])
    def test_the_failure_names_what_was_kept(self, error: BaseException, tmp_path: Path, echo_firmware: Path) -> None:
        before = children()

        def fails() -> None:
            with boot(echo_firmware, platform="tcg", out=tmp_path / "out") as guest:
                guest.wait_for("ready")
                raise error

        with pytest.raises(type(error)) as caught:
            fails()
        assert caught.value is error
        [note] = error.__notes__
        assert note.startswith(f"snp-harness: {tmp_path / 'out'}: ")
        assert rundir.VERDICT in note
        assert children() == before

    def test_what_cannot_be_started_leaves_nothing(self, tmp_path: Path, echo_firmware: Path) -> None:
        before = children()
        for refused in (
            boot(echo_firmware, platform="nowhere"),
            boot(echo_firmware, platform="tcg", out=tmp_path / "out", extra_args=("-no-such-option",)),
            boot(echo_firmware, platform="emulated", out=tmp_path / "out", vcpus=99),
        ):
            with pytest.raises(HarnessError), refused:
                pass
        assert not (tmp_path / "out" / rundir.VERDICT).exists()
        assert children() == before

    def test_a_wait_that_times_out_says_where_the_guest_is(self, echo: Guest) -> None:
        echo.wait_for("ready")
        with pytest.raises(
            GuestTimeoutError, match=r"phase PEI was not seen in 0.1 s: the guest is in the reset vector, .*ready"
        ):
            echo.wait_for(Phase.PEI, 0.1)
        with pytest.raises(GuestTimeoutError, match="never was not seen"):
            echo.wait_for(never, 0.1)


def never(_guest: Guest) -> bool:
    return False


@ON_EVERY_PLATFORM
def test_the_live_timeline_of_firmware(platform: str, snp_firmware: Path, tmp_path: Path) -> None:
    with boot(snp_firmware, platform=platform, out=tmp_path / "out", timeout_s=600, as_if_active=True) as guest:
        assert guest.wait_for(Phase.SEC).phase is Phase.SEC
        read = guest.accesses.wait(register="SVR", operation="read")
        assert (read.phase, read.vcpu) == (Phase.SEC, 0)
        written = guest.accesses.wait(register="SVR", operation=Operation.WRITE, vcpu=0, after=read)
        assert written.index > read.index
        assert guest.wait_for(Phase.PEI).phase is Phase.PEI
        guest.pause()
        assert guest.accesses.phase >= Phase.PEI
        assert [mark.phase for mark in guest.accesses.phases if mark.phase > 0][:2] == [Phase.SEC, Phase.PEI]
        in_sec = guest.accesses.of(phase=Phase.SEC)
        assert in_sec == [access for access in guest.accesses if access.phase is Phase.SEC]
        assert written in in_sec
        assert guest.accesses.of(register="SVR", phase=Phase.SEC, operation="read", vcpu=1) == []
        verdict = guest.verdict()
        assert len(verdict.result("x2apic-before-sec").offences) == 7
        assert len(guest.timeline().accesses) == len(guest.accesses) <= guest.accesses.count
        guest.resume()
        more = len(guest.accesses) + 1
        assert guest.wait_for(lambda now: len(now.accesses) >= more)
        result = guest.power_off()
    assert result.verdict.status is Status.VIOLATED
    assert result.timeline.complete
    assert result.timeline.accesses[: len(in_sec)] == tuple(in_sec)


@pytest.mark.emulated
def test_the_console_of_the_svsm(snp_firmware: Path, tmp_path: Path) -> None:
    with boot(snp_firmware, out=tmp_path / "out", timeout_s=600) as guest:
        guest.svsm_console.expect(r"guest at VMPL(\d)")
        assert guest.svsm_console.match is not None
        assert guest.svsm_console.match[1] == "2"
        assert guest.accesses.wait_event("launch").kind == "launch"
        assert guest.accesses.events("launch")
        with pytest.raises(GuestTimeoutError, match="an event nothing was not seen"):
            guest.accesses.wait_event("nothing", 0.1)
