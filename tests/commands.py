# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines that the documents and the help show, and who runs each of them.

A line that is in none of the tables here is run by test_commands.py as it is: a new one in a page is run, or fails.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from snp_harness.cli.examples import EXAMPLES
from tests.documents import PAGES, ROOT, page_text, prose, recipes, tutorial

#: A program of ours, or one that a page runs for it, where a command of a shell can begin.
_PROGRAM = re.compile(
    r"(?:^|[|;&(] ?|\brun )(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:snp-harness|make|pytest|pip|pipx|python3? -m) "
)
_BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Blocks of code with commands: those of a shell, and of a CI system.
_SHELLS = ("", "sh", "bash", "console", "yaml")
_INLINE = re.compile(r"`([^`]+)`")
#: What stands for something in the synopsis of a command.
_PLACEHOLDER = re.compile(
    r"\[|\.\.\.|\w\|\w|(?<![\w=:/.-])(?:[A-Z]|FILE|IMAGE|EDK2|NAME|RULE|SECONDS|POINT)(?![\w./-])"
)


@dataclass(frozen=True, slots=True)
class Command:
    """A line for a shell. where: the first page, or the command, that shows it. inline: it is a part of a sentence."""

    line: str
    where: str
    inline: bool = False

    def __str__(self) -> str:
        return self.line

    @property
    def synopsis(self) -> bool:
        """Whether it is a form of a command, with placeholders, and not one to be run."""
        return _PLACEHOLDER.search(self.line) is not None

    @property
    def name(self) -> bool:
        """Whether it is a command's name, as a sentence refers to it."""
        return self.inline and re.fullmatch(r"snp-harness [a-z-]+(?: [a-z]+)?", self.line) is not None


class By(NamedTuple):
    """What runs a line: a file of the repository, and a text in it. why: not this test."""

    file: str
    text: str
    why: str = ""


#: Lines, or their begins, and what runs them.
RUN_BY = {
    "make run": By("tests/test_documents.py", "def test_the_readme_shows_what_make_run_prints("),
    "make test": By(".ci/run", "\nmake test\n"),
    "make docs": By(".ci/run", "\nmake docs\n"),
    "make test-edk2": By(".ci/run", "\nmake test-edk2\n"),
    "make test-slow": By(".ci/run", "\nmake test-slow"),
    "make setup": By("Makefile", "\ntest: setup "),
    "make -C snp-harness setup": By("Makefile", "\ntest: setup "),
    "make check": By("Makefile", "\ncheck: lint ", "its parts are make lint and a part of make test"),
    "make nightly": By(".github/workflows/nightly.yml", "run: make nightly"),
    "make firmware": By("Makefile", "$(MAKE) --no-print-directory firmware", "make nightly runs it"),
    "make bench": By("tests/test_bench.py", "def test_", "it takes long: its parts are tested"),
    "make check-counts": By("tests/test_bench_counts.py", "def test_", "it compares the counts of one machine's QEMU"),
    "make -C guests/svsm_apic_conformance": By("Makefile", "$(MAKE) --no-print-directory -s -C guests/svsm_apic_"),
    "pip install CHECKOUT": By("tests/test_action.py", "def test_every_step_with_the_reference_svsm("),
    "pip wheel ": By("tests/test_wheel.py", "def installed("),
    "pipx install ": By("tests/test_wheel.py", "def installed("),
    "pytest --snp-firmware build/": By("tests/test_tutorial.py", "def test_each_command_prints_what_is_shown("),
    "pytest --snp-update-golden ": By("tests/test_documents.py", "def test_the_tests_that_the_pages_show_pass("),
    "pytest --snp-keep": By("tests/testing/test_keep.py", "def test_the_guest_of_a_failed_test_goes_on("),
    "pytest -n 2": By("tests/testing/test_hosts.py", "def test_two_hosts("),
    "pytest -p no:snp_harness": By("tests/testing/test_foreign_projects.py", "def test_the_plugin_can_be_left_out("),
    "pytest -m snp_nested": By("tests/testing/test_markers.py", "def test_"),
    "snp-harness fetch firmware trixie": By("Makefile", "$(BIN)/snp-harness fetch firmware trixie\n"),
    "snp-harness fetch sid/amdsev": By("Makefile", "$(BIN)/snp-harness fetch firmware sid/amdsev "),
    "snp-harness fetch qemu sid": By("Makefile", "$(BIN)/snp-harness fetch qemu sid "),
    "snp-harness fetch linux": By("Makefile", "$(BIN)/snp-harness fetch linux "),
    "snp-harness fetch nested": By("Makefile", "$(BIN)/snp-harness fetch nested "),
    "snp-harness firmware source debian:sid": By("Makefile", "$(BIN)/snp-harness firmware source "),
    "snp-harness firmware build --source edk2": By("tests/edk2/test_build.py", "def test_"),
    "snp-harness firmware build --source . ": By("tests/edk2/test_build.py", "def test_"),
    "python3 -m venv ": By("tests/test_ci_recipes.py", "def test_the_workflow_with_the_harness_that_it_installs("),
    "snp-harness bisect": By("tests/edk2/test_real.py", "def test_a_planted_regression_is_found_in_log2_steps("),
    "git bisect ": By("tests/edk2/test_real.py", "def test_git_bisect_run("),
    "snp-harness matrix ": By("tests/cli/test_matrix.py", "def test_a_matrix_is_compared_with_the_last("),
    "snp-harness cache show": By("tests/cli/test_cache.py", "def test_what_is_there("),
    "snp-harness completion fish": By("tests/cli/test_completion.py", "def test_other_shells("),
    "snp-harness igvm inject": By("tests/cli/test_igvm.py", '"inject"'),
    "snp-harness cache clean ": By("tests/cli/test_cache.py", "def test_", "the cache of the tests must stay"),
    "snp-harness run --host ssh://": By("tests/hosts/test_remote_run.py", "def test_the_command("),
    "snp-harness conformance --host ": By("tests/hosts/test_suite.py", "def test_"),
    "snp-harness doctor --host ": By("tests/hosts/test_remote_doctor.py", "def test_a_host_is_judged_as_it_would_be_"),
    "snp-harness shell --guest linux": By(
        "tests/cli/test_shell.py", "def test_keys_reach_the_guest_until_the_end_key("
    ),
    "snp-harness run --guest linux:sid": By("tests/platforms/test_linux.py", "def test_to_the_root_file_system("),
    "snp-harness run --guest linux --vcpus 4": By("tests/platforms/test_linux.py", "def test_cpus_go_and_come_again("),
    "snp-harness run --kernel bzImage": By("tests/platforms/test_linux.py", "def test_to_the_root_file_system("),
    "snp-harness run --platform nested": By("tests/platforms/test_nested.py", "def test_"),
    "snp-harness svsm-test bin/": By("tests/test_action.py", "def test_every_step_with_the_reference_svsm("),
    "snp-harness conformance --igvm bin/": By("tests/test_action.py", "def test_every_step_with_the_reference_svsm("),
    "snp-harness run --igvm bin/": By("tests/test_action.py", "def test_every_step_with_the_reference_svsm("),
    "snp-harness run --svsm-config plain --until exit": By(
        "tests/platforms/test_emulated.py", "def test_the_guest_ends_the_run_by_isa_debug_exit("
    ),
    "snp-harness timeline --vmpl": By("tests/cli/test_timeline.py", '"--vmpl"'),
}
#: What no test runs, and why.
NOT_RUN = {
    "make test-long": "hours, for a nightly",
    "make FW_FILE=OVMF.fd bin/coconut-qemu.igvm": "COCONUT-SVSM's own build, which needs Rust",
    "make test-igvm": "COCONUT-SVSM's own build, which needs Rust",
    "snp-harness test": "not a command: the name of a key",
    "pytest -m snp": "needs an SEV-SNP host",
    "snp-harness run --platform snp": "needs an SEV-SNP host",
    "SNP_HARNESS_COCONUT=DIR pytest ": "needs a build of COCONUT-SVSM",
    "./configure --enable-efi && make": "a build of kvm-unit-tests",
    "snp-harness run --svsm-config kvm.toml": "needs a build of kvm-unit-tests: tests/platforms/test_kvm_unit_tests.py",
    "pytest -m slow -s tests/platforms/test_kvm_unit_tests.py": "needs a build of kvm-unit-tests",
}


def commands() -> list[Command]:
    """Every command line of the pages and of the help, each once."""
    found: dict[str, Command] = {}
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for line, inline in page_lines(page_text(page)):
                found.setdefault(line, Command(line, str(page.relative_to(ROOT)), inline))
    for name, examples in EXAMPLES.items():
        for line, _ in examples:
            found.setdefault(line, Command(line, f"snp-harness {name} --help"))
    return list(found.values())


def page_lines(text: str) -> Iterator[tuple[str, bool]]:
    """The command lines of a page: in indented blocks, in those of a shell, and, second, in its sentences."""
    blocks = [block for language, block in _BLOCK.findall(text) if language in _SHELLS]
    outside = _BLOCK.sub("", text)
    blocks.append("\n".join(line[4:] for line in outside.splitlines() if line.startswith("    ")))
    for block in blocks:
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            line = re.sub(r"\s+#( .*)?$", "", line).strip()
            line = re.sub(r"^(?:- )?(?:run: )?(?:\$ )?", "", line)
            line = re.sub(r"  .*", "", line)
            if _PROGRAM.search(f"{line} "):
                yield line, False
    for code in _INLINE.findall(prose(text)):
        line = " ".join(code.split())
        if re.match(r"(?:snp-harness|make|pytest|pip) ", line):
            yield line, True


def begins(command: Command, table: Iterable[str]) -> list[str]:
    """The entries of a table that a line begins with."""
    return [begin for begin in table if f"{command.line} ".startswith(begin)]


def run_here() -> list[Command]:
    """The commands that test_commands.py runs: all that nothing else runs."""
    elsewhere = {*recipes(), *tutorial()}
    return [
        command
        for command in commands()
        if not (command.synopsis or command.name or command.line in elsewhere)
        and not begins(command, RUN_BY)
        and not begins(command, NOT_RUN)
    ]


def shell_words(line: str) -> list[str] | None:
    """The words behind the first `snp-harness` of a line, None if it is not a command there."""
    found = re.search(r"(?:^|[|;&(] ?|\brun )snp-harness ((?:\$\([^)]*\)|[^)|>])*)", line)
    return shlex.split(re.sub(r"\$\([^)]*\)", "X", found[1])) if found else None
