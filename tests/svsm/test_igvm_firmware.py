# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.cli.main import main
from snp_harness.svsm.igvm import IgvmError
from snp_harness.svsm.igvm_firmware import contained_firmware, replace_firmware
from snp_harness.svsm.igvm_measure import id_blocks, measure
from tests.firmware.builder import SECTIONS, image
from tests.helpers.igvm import parse
from tests.svsm import igvm_writer as writer

OLD = image()


def changed(data: bytes = OLD) -> bytes:
    """Another build: SEC differs."""
    at = data.rindex(b"MZ") + 0x200
    return data[:at] + b"other" + data[at + 5 :]


def test_the_copy_is_what_the_writer_would_write() -> None:
    made = writer.coconut(image=OLD)
    file = parse(made.build())
    assert contained_firmware(file) == OLD
    done = replace_firmware(file, changed(), "new.fd")
    assert contained_firmware(parse(done.data)) == changed()
    assert measure(parse(done.data)) == measure(parse(writer.coconut(image=changed()).build()))
    assert done.changes[0] == "firmware new.fd"
    assert done.data == writer.coconut(image=changed()).build()


def test_pages_that_share_their_contents_are_told_apart() -> None:
    """igvmbuilder's serializer may keep equal pages once: the free space of an image is full of them."""
    made = writer.coconut(image=OLD)
    first: dict[bytes, int] = {}
    made._patches = [(content, first.setdefault(made.data[number], number)) for content, number in made._patches]
    file = parse(made.build())
    new = changed()
    at = new.index(b"\xff" * 4096 + b"\xff" * 4096)
    new = new[:at] + b"\xfe" * 4096 + new[at + 4096 :]
    done = parse(replace_firmware(file, new, "new.fd").data)
    assert contained_firmware(done) == new
    assert measure(done) == measure(parse(writer.coconut(image=new).build()))
    assert done.checksum_is_right


def test_a_zero_page_can_become_another() -> None:
    old = OLD[:0x2000] + bytes(0x1000) + OLD[0x3000:]
    made = writer.coconut(image=old)
    for content, number in list(made._patches):
        if made.data[number] == bytes(4096):
            made._patches.remove((content, number))
    file = parse(made.build())
    assert contained_firmware(file) == old
    done = parse(replace_firmware(file, OLD, "new.fd").data)
    assert contained_firmware(done) == OLD
    assert measure(done) == measure(parse(writer.coconut(image=OLD).build()))


def test_the_same_firmware_changes_nothing() -> None:
    made = writer.coconut(image=OLD)
    done = replace_firmware(parse(made.build()), OLD, "old.fd")
    assert (done.data, done.changes) == (made.build(), ())


def test_a_signed_id_block_is_named() -> None:
    made = writer.coconut(image=OLD, signature=b"\x01")
    done = replace_firmware(parse(made.build()), changed(), "new.fd")
    assert "signed for another launch digest" in done.warnings[0]
    assert len(id_blocks(parse(done.data))) == 1


def test_images_that_do_not_fit() -> None:
    file = parse(writer.coconut(image=OLD).build())
    with pytest.raises(IgvmError, match="other SEV metadata"):
        replace_firmware(file, image(SECTIONS[:-1]), "less.fd")
    with pytest.raises(IgvmError, match="bytes, the firmware in"):
        replace_firmware(file, OLD[4096:], "short.fd")
    damaged = bytearray(OLD)
    damaged[-0x20 - 18 : -0x20 - 16] = b"\xff\xff"
    with pytest.raises(IgvmError, match=r"bad.fd: the GUIDed table"):
        replace_firmware(file, bytes(damaged), "bad.fd")


def test_files_without_a_whole_firmware() -> None:
    made = writer.coconut(image=b"")
    with pytest.raises(IgvmError, match="contains no firmware"):
        replace_firmware(parse(made.build()), OLD, "new.fd")
    made = writer.coconut(image=OLD)
    made.headers = [one for one in made.headers if getattr(one[1], "gpa", 0) != (1 << 32) - len(OLD)]
    with pytest.raises(IgvmError, match="lacks 1 pages of its firmware"):
        contained_firmware(parse(made.build()))
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 3, 1, 0))
    assert contained_firmware(parse(made.build())) is None


def test_the_command_does_both_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, new, out = tmp_path / "a.igvm", tmp_path / "new.fd", tmp_path / "b.igvm"
    source.write_bytes(writer.coconut(image=OLD).build())
    new.write_bytes(changed())
    command = ["igvm", "inject", str(source), "--alternate-injection", "--firmware", str(new), "--out", str(out)]
    assert main(command) == 0
    assert out.read_bytes() == writer.coconut(image=changed(), use=1).build()
    text = capsys.readouterr().out
    assert text.count("launch digest") == 1
    assert text.count("checksum") == 1
    assert main(["igvm", "inject", str(source)]) == 2
    assert "no change is requested" in capsys.readouterr().err
