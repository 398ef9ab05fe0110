# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's log as the witness of a run in progress."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

from snp_harness.apic.event_kinds import AGREEMENT, SVSM_PANIC
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.capture.agree import disagreement
from snp_harness.capture.collect import Collector
from snp_harness.capture.goal import Position
from snp_harness.capture.host_account import HostAccount, Seen
from snp_harness.capture.host_log import HostLog
from snp_harness.capture.host_timeline import WITNESS, HostTimeline
from snp_harness.capture.record import Digest, RecordKind
from snp_harness.errors import BrokenEnvironmentError, HarnessError
from snp_harness.firmware.image import FirmwareImage
from snp_harness.launch.loop import Loop
from snp_harness.launch.patience import Patience
from snp_harness.launch.ring import RECORD_SIZE, RecordSource
from snp_harness.platforms.console_goal import log_console
from snp_harness.platforms.platform import RunOutcome, RunSpec
from snp_harness.platforms.session import Ending, guest_exit
from snp_harness.platforms.svsm_console import (
    NO_ALTERNATE_INJECTION,
    NoAlternateInjectionError,
    SvsmPanicError,
    panic_of,
)
from snp_harness.svsm.sections import FEATURE_NAMES, SvsmKind
from snp_harness.svsm.vmsa import ALTERNATE_INJECTION
from snp_harness.vm import rundir
from snp_harness.vm.console import BoundedLog
from snp_harness.vm.rundir import RunDirectory

#: Bytes of raw records kept on disk: four million records.
HOST_LOG_LIMIT = 256 << 20
#: Seconds between two reads while records arrive: one read returns many; a doorbell for each would slow the guest.
BUSY_S = 0.02
#: Seconds until another host's agent has sent what is in the ring of a QEMU that was stopped.
SENT_S = 10.0
_BLOCK = 1 << 20
#: Seconds between two reads while no records arrive; the doorbell wakes the harness earlier.
IDLE_S = 1.0


#: Names of hypervisor features by their bits.
FEATURE_OF_BIT = {feature.bit_length() - 1: name for name, feature in FEATURE_NAMES.items()}


class EmulatedHostError(BrokenEnvironmentError):
    """The hypervisor itself failed: a defect of it, or a configuration that it refuses."""


class HostWitness:
    """Reads the ring, keeps the raw records, and makes the timeline.

    ring: the reader of the hypervisor's ring; it is closed with the witness.
    key: of the digest of all records, in the configuration block. symbols: returns the function of a pc of the SVSM.
    launched: returns bytes of the launch list, for the launch digest.
    alternate_injection_refused: set by the caller when the SVSM's console reports this.
    """

    def __init__(
        self,
        ring: RecordSource,
        firmware: FirmwareImage,
        spec: RunSpec,
        directory: RunDirectory,
        collector: Collector,
        key: int = 0,
        symbols: Callable[[int], str | None] = lambda _: None,
        launched: Callable[[int, int], bytes] | None = None,
    ) -> None:
        self.collector = collector
        self.alternate_injection_refused = False
        self._spec = spec
        self._firmware = firmware
        console = log_console(spec, collector)
        self._timeline = HostTimeline(firmware, spec.svsm.guest_vmpl, self.collector, symbols, launched, console)
        self._raw = BoundedLog(directory.file(rundir.HOST_LOG), HOST_LOG_LIMIT, note=b"")
        self._log = HostLog(ring, self._take)
        self._digest = Digest(key)
        self._checked = False
        #: When records arrived last, and how long the run went on after that.
        self._taken_s = time.monotonic()
        self._quiet_s = 0.0
        self._sha256 = hashlib.sha256()
        self._agreements: list[Event] = []
        self._differences: list[str] = []
        self._closed = False

    def step(self) -> float:
        """Read the records that are there; returns the seconds until the next call. Raises HostLogError."""
        # A doorbell is an instruction of the hypervisor: if instructions are counted, no two boots would be the same.
        if self._log.drain() or self._spec.icount:
            return BUSY_S
        self._log.arm()
        return BUSY_S if self._log.drain() else IDLE_S

    def exits(self) -> int:
        """Return the number of #VMEXITs so far."""
        return self._log.exits

    def halted(self) -> int | None:
        """Return the pc of a guest whose vCPUs are all in HLT with interrupts off, else None."""
        return self._log.halted or None

    def is_open(self, position: Position | None = None) -> bool:
        """Whether a vCPU is on the way to the answer of an access. position: only of those before it."""
        return self._timeline.is_open(position)

    def describe(self, pc: int) -> str:
        """Return a pc with its module, or with its function of the SVSM."""
        return self._timeline.describe(pc)

    @property
    def has_all(self) -> bool:
        """Whether the raw log has all records that were read."""
        return not self._raw.dropped

    @property
    def stopped(self) -> bool:
        """Whether the hypervisor has stopped or ended the guest: no record follows."""
        return self._timeline.end is not None

    @property
    def guest_started(self) -> bool:
        """Whether the guest may have run: there is no SVSM, or none that is known not to have started it."""
        return not self.collector.svsm_stage

    def with_panic(self, ending: Ending, directory: RunDirectory) -> Ending:
        """Return the ending with the SVSM's panic as its error, if the run ended early and a console shows one.

        A guest can write to the serial console: a panic there counts only if the SVSM has ended the run, or has not
        started the guest.
        """
        if not ending.gap or ending.error is not None:
            return ending
        end = self._timeline.end
        panic = panic_of(directory, serial=(end is not None and end.by_svsm) or not self.guest_started)
        if panic is None:
            return ending
        frames = {f"frame_{number}": frame for number, frame in enumerate(panic.frames)}
        self.collector.event(SVSM_PANIC, None, None, panic.text, **frames)
        error: HarnessError = SvsmPanicError(panic)
        if re.search(NO_ALTERNATE_INJECTION, panic.text):
            error = NoAlternateInjectionError(_offer(self._spec.svsm.svsm.feature_bit))
        return Ending(error.message, error, ending.interrupt)

    def ended(self) -> Ending | None:
        """Return why the hypervisor stopped, the guest's doing or its own failure; None while it runs."""
        end = self._timeline.end
        if end is None:
            return None
        if end.exited:
            return guest_exit(end.text, self._spec.goal, self.collector.phase)
        error: HarnessError | None = None
        if end.lacks_feature:
            if self.alternate_injection_refused:
                error = NoAlternateInjectionError(_offer(self._spec.svsm.svsm.feature_bit))
            else:
                error = BrokenEnvironmentError("the SVSM stopped: the hypervisor lacks a feature", f"see {rundir.SVSM}")
            return Ending(error.message, error)
        if end.hypervisor_failed:
            error = EmulatedHostError(
                f"the emulated SNP host stopped: {end.text}", "see host.log; this is a defect of it"
            )
        if end.by_svsm:
            return Ending(end.text, error)
        return Ending(f"the run ended: {end.text}", error, left=end.left)

    def compare(self, account: HostAccount | None, loop: Loop) -> None:
        """Compare the log with the hypervisor's own account of it, after QEMU was stopped; None if it has ended.

        loop: turned until the records that another host's agent sends are there.
        """
        self._checked = True
        stopped_s = time.monotonic()
        counts = self._timeline.counts
        patience = Patience(0 if self._spec.host.here else SENT_S)
        with contextlib.suppress(HarnessError):
            self._log.drain()
            while account is not None and counts.total() < account.count and (step_s := patience.step()) > 0:
                loop.turn(step_s)
                self._log.drain()
        self._quiet_s = max(0.0, stopped_s - self._taken_s)
        if account is None:
            return
        seen = Seen(counts.total(), self._digest.value, self._log.health.dropped, counts[RecordKind.ACCESS])
        self._differences = list(account.differences(seen))
        if not self._differences:
            # All of the log agrees. The event is about what the run has of it.
            records, accesses, sha256 = seen.records, seen.accesses, self._sha256.hexdigest()
            end = self.collector.cut
            if end is not None and end.log is not None and self.has_all:
                records, accesses = end.log.records, end.log.accesses
                sha256 = _sum(self._raw.path, records * RECORD_SIZE)
            text = (
                f"the log and the hypervisor's own account of it: {records} records,"
                f" {accesses} local-APIC accesses of all VMPLs"
            )
            self._agree(text, records=records, accesses=accesses, sha256=sha256)

    def finish(self) -> None:
        """Read the last records, after QEMU has ended. A damaged log is not reported again."""
        with contextlib.suppress(HarnessError):
            self._log.drain()
        self._timeline.finish(int(self._quiet_s * 1e9))

    def outcome(self, platform: str, ending: Ending, qemu: str, second: Timeline | None = None) -> RunOutcome:
        """Return the run's outcome. second: the timeline of another witness; if the two disagree, the run has a gap."""
        gaps = [ending.gap] if ending.gap else []
        gaps += self._log.health.gaps()
        gaps += self._timeline.skipped
        if self._timeline.unknown:
            gaps.append(f"{self._timeline.unknown} records of unknown kinds")
        gaps += self._differences
        uncompared = self._checked and not (self._agreements or self._differences)
        if uncompared and not ending.gap:
            gaps.append("QEMU ended before its log could be compared with the hypervisor's own account of it")
        config = self._spec.svsm
        active = config.alternate_injection
        features = self._timeline.guest_features
        if config.svsm.kind is SvsmKind.IGVM and features is not None:
            # The file, not the configuration, decides whether its SVSM requests it: this is what it created.
            active = bool(features & ALTERNATE_INJECTION)
            if active != config.alternate_injection:
                wanted, created = ("on", "without") if config.alternate_injection else ("off", "with")
                gaps.append(f"Alternate Injection was to be {wanted}, and the SVSM created the guest {created} it")
        timeline = self.collector.finish(
            witness=WITNESS,
            platform=platform,
            gaps=gaps,
            lost=self._log.health.lost + len(self._differences),
            not_observed=frozenset(),
            alternate_injection=active,
            svsm=config.present,
            apic_protocol=active and config.apic_protocol,
            faults=self._spec.svsm.injected_faults,
            defects=self._firmware.plain_defects if ending.fast else self._firmware.defects,
        )
        # The second witness knows of no goal.
        whole = self.collector.moved(timeline, self.collector.end)
        if second is not None and (difference := disagreement(whole, second)) is not None:
            gap = f"the witnesses disagree: {difference}"
            timeline = dataclasses.replace(timeline, complete=False, gaps=(*timeline.gaps, gap))
        elif second is not None:
            self._agree(f"{WITNESS} and {second.witness}, access by access")
        timeline = dataclasses.replace(timeline, events=(*timeline.events, *self._agreements))
        return RunOutcome(timeline, ending.error, ending.interrupt, qemu, second)

    def close(self) -> None:
        """Unmap the ring and close the log."""
        if not self._closed:
            self._closed = True
            self._log.close()
            self._raw.close()

    def _agree(self, text: str, **fields: int | str) -> None:
        self._agreements.append(Event(AGREEMENT, None, None, text, fields))

    def _take(self, batch: bytes) -> None:
        # First what the verdict is made of: the disk may be full.
        self._timeline.take(batch)
        self.collector.position += len(batch)
        self._taken_s = time.monotonic()
        self._raw.write(batch)
        self._digest.add(batch)
        self._sha256.update(batch)


def _sum(path: Path, size: int) -> str:
    """Return the SHA-256 of the first bytes of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while size and (data := file.read(min(size, _BLOCK))):
            sha256.update(data)
            size -= len(data)
    return sha256.hexdigest()


def _offer(feature_bit: int) -> str:
    """Return what to do if the hypervisor lacks a GHCB feature that the SVSM needs."""
    return (
        f'the hypervisor has to offer feature bit {feature_bit} ("{FEATURE_OF_BIT[feature_bit]}" in'
        " hypervisor.features), or svsm.alternate_injection has to be false"
    )
