# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness igvm` as it is called."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from snp_harness.cli.main import main
from tests.svsm import igvm_writer as writer

DOCS = Path(__file__).parents[2] / "docs" / "json.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "coconut.igvm"
    made = writer.coconut(era=writer.NEW_ERA, masks=writer.SNP | writer.NATIVE, signature=b"\x01")
    path.write_bytes(made.build())
    return path


def test_show_names_what_matters(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["igvm", "show", str(file)]) == 0
    out = capsys.readouterr().out
    assert "mask 0x1   SEV_SNP, highest VTL 2" in out
    assert "VMPL0, SEV_FEATURES 9: snp restricted-injection" in out
    assert "  use_alternate_injection = 0 in the block\n" in out
    assert "  use_alternate_injection = 0 in the launch information" in out
    assert "Alternate Injection: off (the kernel reads it from the launch information)" in out
    assert "  gpa 8204000, size 1000: DEVICE_TREE" in out
    assert "  SVSM's kernel at 8000000, size 1000000" in out
    assert "  firmware at FFFFE000, size 2000" in out
    assert re.search(r"launch digest [0-9a-f]{96}$", out, re.MULTILINE)
    assert "signed (the signature was not checked), ANOTHER digest" in out


def test_show_as_json_has_the_fields_that_are_documented(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["igvm", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    section = DOCS.read_text(encoding="utf-8").partition("## IGVM file")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
    fields = set(shown)
    for name in ("platforms", "directives", "parameter_areas", "parameter_block", "id_blocks"):
        fields |= {f"{name}[].{key}" for entry in shown[name] for key in entry}
    fields |= {f"directives[].vmsa.{key}" for entry in shown["directives"] for key in entry.get("vmsa") or {}}
    launch = shown["parameter_block"][0]["launch_information"]
    fields |= {f"parameter_block[].launch_information.{key}" for key in launch}
    assert fields == documented


def test_inject_writes_a_copy(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert main(["igvm", "inject", str(file), "--alternate-injection"]) == 0
    output = capsys.readouterr()
    copy = file.with_name("coconut.altinj.igvm")
    assert output.out.splitlines()[0] == str(copy)
    assert "signed for another launch digest" in output.err
    assert file.read_bytes() == before
    assert main(["igvm", "show", str(copy)]) == 0
    out = capsys.readouterr().out
    assert out.count("use_alternate_injection = 1 in the") == 2
    assert "Alternate Injection: on (" in out
    assert list(file.parent.iterdir()) in ([file, copy], [copy, file])


def test_the_console_port(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["igvm", "inject", str(file), "--console-port", "3E8"]) == 0
    output = capsys.readouterr()
    assert "  debug_serial_port = 3E8 in the kernel's launch information\n" in output.out
    copy = file.with_name("coconut.copy.igvm")
    assert main(["igvm", "show", str(copy)]) == 0
    assert "  debug_serial_port = 3E8\n" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["igvm", "inject", str(file), "--console-port", "70"])
    assert stopped.value.code == 2
    assert "'70' is not one of 3f8, 2f8, 3e8, 2e8" in capsys.readouterr().err


def test_inject_off_drop_and_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name("out.igvm")
    arguments = [
        "igvm",
        "inject",
        str(file),
        "--no-alternate-injection",
        "--drop-id-block",
        "--out",
        str(out),
        "--json",
    ]
    assert main(arguments) == 0
    output = capsys.readouterr()
    done = json.loads(output.out)
    assert done["file"] == str(out)
    assert done["warnings"] == []
    assert done["changes"][0] == "the ID block is left out"
    assert output.err == ""


def test_errors_are_one_line_with_a_status(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["igvm", "show", str(file.parent / "none")]) == 2
    assert main(["igvm", "inject", str(file), "--alternate-injection", "--out", str(file)]) == 2
    assert "which is never changed" in capsys.readouterr().err
    out = str(file.parent / "none" / "x")
    assert main(["igvm", "inject", str(file), "--alternate-injection", "--out", out]) == 128
    assert f"cannot write {out}" in capsys.readouterr().err
    file.write_bytes(b"IGVM")
    assert main(["igvm", "show", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_copy_s_name_and_mode(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    command = ["igvm", "inject", str(file), "--alternate-injection", "--out"]
    link = tmp_path / "link.igvm"
    link.symlink_to(file)
    assert main([*command, str(link)]) == 2
    assert "is the input file" in capsys.readouterr().err
    assert main([*command, str(tmp_path / ("x" * 300))]) == 128
    assert "cannot write" in capsys.readouterr().err
    mask = os.umask(0o027)
    try:
        assert main([*command, str(tmp_path / "copy")]) == 0
    finally:
        os.umask(mask)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o640
    # Done again, nothing changes; undone, it is what it was; and the file itself is never touched.
    again = ["igvm", "inject", str(tmp_path / "copy"), "--alternate-injection", "--out", str(tmp_path / "again")]
    assert main(again) == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "copy").read_bytes() != before
    undo = ["igvm", "inject", str(tmp_path / "copy"), "--no-alternate-injection", "--out", str(tmp_path / "undone")]
    assert main(undo) == 0
    assert (tmp_path / "undone").read_bytes() == before == file.read_bytes()
