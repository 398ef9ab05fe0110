# SPDX-License-Identifier: GPL-2.0-or-later
"""Examples of each command: for --help and the manual page. Loaded when one of them is printed, not at a run.

The tests parse every line, and execute those that need no build, no download and no other machine.
"""

from __future__ import annotations

from snp_harness.defaults import PROGRAM

#: A command, without the program's name, and its examples: a line for a shell, and what it does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("snp-harness run OVMF.fd", "judge an image until the end of SEC"),
        (
            "snp-harness run --firmware debian:trixie --format html --output report.html",
            "judge Debian's OVMF, with the report as a page",
        ),
        (
            "snp-harness run OVMF.fd --svsm-config alternate-injection-off --until shell",
            "boot to the UEFI shell, without Alternate Injection",
        ),
        (
            "snp-harness run OVMF.fd --rule x2apic-before-sec --fail-fast",
            "answer one question, and end as soon as the answer is certain",
        ),
        ("snp-harness run --guest linux --until ssh", "boot Debian's Linux, and log in to it"),
    ),
    "shell": (("snp-harness shell --guest linux", "log in to Linux in an SNP guest; Ctrl-] ends it"),),
    "conformance": (
        ("snp-harness conformance", "test the reference SVSM, Alternate Injection on"),
        (
            "snp-harness conformance --igvm coconut-qemu.igvm --known coconut-svsm",
            "test COCONUT-SVSM; fail for what is not known to fail",
        ),
        ("snp-harness conformance --fuzz 10 --seed 1", "make random requests for ten seconds"),
    ),
    "svsm-test": (
        ("snp-harness svsm-test", "run the tests of the reference SVSM"),
        ("snp-harness svsm-test coconut-test-qemu.igvm --vcpus 4 --tap", "run COCONUT-SVSM's own, as TAP"),
    ),
    "doctor": (
        ("snp-harness doctor", "print what this machine can run"),
        ("snp-harness doctor --host ssh://me@box --platform snp", "check whether another machine can run SNP guests"),
    ),
    "fetch": (
        ("snp-harness fetch sid/amdsev", "download the AmdSev OVMF of Debian unstable"),
        ("snp-harness fetch qemu sid", "download a QEMU, for --qemu debian:sid"),
        ("snp-harness fetch linux", "make the image of the Linux guest"),
    ),
    "report": (
        ("snp-harness report runs/latest", "print the report of the last run"),
        ("snp-harness report runs/latest --format sarif --output snp.sarif", "write it for a code scanner"),
    ),
    "timeline": (
        ("snp-harness timeline runs/latest --since sec --path mmio", "print accesses through the APIC page"),
        ("snp-harness timeline runs/latest --register timer,320 --all", "print every access to the timer"),
    ),
    "diff": (("snp-harness diff runs/stock runs/fixed", "print the accesses that came, went and changed"),),
    "matrix": (
        ("snp-harness matrix OVMF.fd -j 4", "judge an image under each configuration, four at a time"),
        (
            "snp-harness matrix old=debian:trixie new=OVMF.fd --expect old=any",
            "compare two images; whatever the first one does is fine",
        ),
        (
            "snp-harness matrix OVMF.fd --svsm-config 'fault-*' --only-worse",
            "fail for what has become worse since the last time",
        ),
    ),
    "judge": (("snp-harness judge trace.txt --rule x2apic-before-sec", "judge a trace of KVM that somebody has sent"),),
    "configs": (
        ("snp-harness configs list", "print the configurations, and what each is for"),
        ("snp-harness configs copy plain mine.toml", "write a configuration of your own"),
    ),
    "configs list": (("snp-harness configs list", "print the configurations, and what each is for"),),
    "configs show": (("snp-harness configs show alternate-injection", "print the default one"),),
    "configs copy": (("snp-harness configs copy plain plain-2.toml", "write a configuration of your own"),),
    "rules": (("snp-harness rules explain x2apic-before-sec", "print what the main rule asserts, and why"),),
    "rules list": (("snp-harness rules list", "print the rules, in a line each"),),
    "rules explain": (("snp-harness rules explain x2apic-before-sec", "print what the main rule asserts, and why"),),
    "firmware": (("snp-harness firmware build --series ovmf_patches/series", "build Debian's edk2, patched"),),
    "firmware build": (
        ("snp-harness firmware build --out build/stock", "build Debian's edk2"),
        (
            "snp-harness firmware build --series ovmf_patches/series --out build/fixed",
            "build it with the harness's patch series",
        ),
        ("snp-harness firmware build --source edk2 --target RELEASE", "build a directory of edk2, which is only read"),
    ),
    "firmware source": (("snp-harness firmware source debian:sid", "fetch the source of Debian unstable"),),
    "igvm": (("snp-harness igvm show coconut-qemu.igvm", "print what is in a file, and its launch digest"),),
    "igvm show": (("snp-harness igvm show coconut-qemu.igvm --json", "print what is in a file as JSON"),),
    "igvm inject": (
        (
            "snp-harness igvm inject coconut-qemu.igvm --alternate-injection",
            "write coconut-qemu.altinj.igvm, with Alternate Injection on",
        ),
    ),
    "bisect": (
        (
            "snp-harness bisect --repo edk2 --good edk2-stable202402 --bad master",
            "find the commit that broke the contract",
        ),
        (
            "snp-harness bisect --good A --bad B --rule reached:dxe --until dxe",
            "find the commit since which DXE is not reached",
        ),
    ),
    "bisect-step": (
        ("git bisect run snp-harness bisect-step --rule x2apic-before-sec", "judge the work tree of each step"),
    ),
    "cache": (("snp-harness cache clean debian/sid --dry-run", "print what of Debian unstable is in the cache"),),
    "cache show": (("snp-harness cache show", "print the entries and their sizes"),),
    "cache clean": (
        ("snp-harness cache clean edk2/work", "remove the workspaces of builds"),
        ("snp-harness cache clean --all --dry-run", "print what would be removed"),
    ),
    "completion": (("source <(snp-harness completion bash)", "complete in this bash"),),
}


def examples_of(command: str) -> tuple[tuple[str, str], ...]:
    """Return the examples of a command: as its parser names it, with the program."""
    return EXAMPLES.get(command.removeprefix(PROGRAM).strip(), ())


def examples_help(command: str) -> str:
    """Return the examples of a command as a part of its help, an empty text if it has none."""
    found = examples_of(command)
    return "\nexamples:\n" + "".join(f"  {line}\n      {what}\n" for line, what in found) if found else ""
