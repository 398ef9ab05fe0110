# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from snp_harness.capture.collect import Collector
from snp_harness.launch.loop import Loop
from snp_harness.platforms.trace_witness import TraceWitness
from snp_harness.vm.rundir import RunDirectory


def test_the_loop_forgets_the_pipe_before_its_number_is_free(tmp_path: Path) -> None:
    """QMP is still served after the witness is closed, by files that may get the number of its pipe."""
    loop = Loop()
    read_fd, write_fd = os.pipe()
    qmp = SimpleNamespace(execute=lambda *_: None, execute_all=lambda *_: None)
    machine = SimpleNamespace(loop=loop, qmp=qmp, take_pipe=lambda _: read_fd)
    with RunDirectory.create(tmp_path / "out", "tcg") as directory:
        witness = TraceWitness(1, Collector(), directory)
        witness.start(machine)  # type: ignore[arg-type]
        witness.close()
        os.close(write_fd)
        again, other = os.pipe()
        assert again == read_fd
        os.write(other, b"not a trace")
        called = []
        loop.watch(again, lambda: called.append(os.read(again, 100)))
        assert loop.turn(30)
    assert called == [b"not a trace"]
    loop.forget(again)
    loop.close()
    os.close(again)
    os.close(other)
