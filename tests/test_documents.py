# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents: their form, their links, and that they agree with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import snp_harness
from snp_harness.debian.firmware_names import cached_firmware
from snp_harness.platforms import platform_names
from snp_harness.recorded import rerun
from snp_harness.svsm.config_files import shipped_configs
from snp_harness.testing.markers import marker_of
from snp_harness.tools.linux_guest.pack import LinuxImage
from snp_harness.vm import rundir
from tests.documents import DOCS, PAGES, ROOT, files, links, matches, page_anchors, page_text, prose, shown

#: Columns of a line of text, and of a table's.
TEXT_MAX, TABLE_MAX = 100, 120
#: Pages that the documentation has from elsewhere, by the page that includes them.
INCLUDED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "ovmf-patches.md": "ovmf_patches/README.md",
    "BUILDS.md": "ovmf_patches/BUILDS.md",
    "cover-letter.md": "ovmf_patches/cover-letter.md",
}
SOURCES = sorted(path for path in (ROOT / "harness" / "snp_harness").rglob("*.py"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@every_page
def test_lines_fit_a_terminal(page: Path) -> None:
    lines = page_text(page).splitlines()
    long = [line for line in lines if len(line) > (TABLE_MAX if line.startswith("|") else TEXT_MAX)]
    assert not long, f"{name(page)} has {len(long)} lines that are too long, the first is: {long[0]}"
    assert page_text(page).endswith("\n")
    assert not [line for line in lines if line != line.rstrip()]


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page_text(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        assert target.exists(), f"{name(page)} links to {link}"
        if anchor:
            assert anchor in page_anchors(target), f"{name(page)} links to {link}"


def test_every_picture_is_text_and_is_shown() -> None:
    """Pictures are written by hand: XML with a title for those who do not see it, and colours of its own.

    Those of the report as a page are a browser's.
    """
    shown_somewhere = {link for page in DOCS.glob("*.md") for link in links(page_text(page))}
    for picture in (DOCS / "pictures").iterdir():
        assert f"pictures/{picture.name}" in shown_somewhere
        if picture.suffix == ".png":
            assert picture.stat().st_size < 300_000
            continue
        root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
        tags = [element.tag.rpartition("}")[2] for element in root]
        assert tags[:2] == ["title", "desc"]
        assert "rect" in tags, "it has no background: a dark page shows dark text on it"


def test_every_page_is_in_the_index_once() -> None:
    """Once as a link with what the page is about, once in the table of contents."""
    index = page_text(DOCS / "index.md")
    listed = [link for link in links(index) if not link.startswith("http")]
    contents = [line for toc in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for line in toc.split()]
    pages = sorted(page.name for page in DOCS.glob("*.md") if page.name != "index.md")
    assert sorted(listed) == pages
    assert sorted(f"{line}.md" for line in contents if f"{line}.md" in pages) == pages


def test_included_pages_are_there() -> None:
    for page, source in INCLUDED.items():
        assert f"```{{include}} ../{source}\n" in page_text(DOCS / page)


def test_pages_named_by_the_code_are_there() -> None:
    for path in [*SOURCES, *(ROOT / "svsm_configs").glob("*.toml"), *(ROOT / "guests").rglob("*.[ch]")]:
        for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{path} names {page}"


def test_every_command_and_option_is_on_the_page_of_the_command() -> None:
    page = page_text(DOCS / "cli.md")
    overview = usage()
    commands = re.findall(r"^    ([a-z-]+)", overview, re.MULTILINE)
    assert len(commands) > 5
    known = options(overview) | {"--good", "--bad"}
    assert set(re.findall(r"^    snp-harness ([a-z-]+)", page.partition("\n## ")[0], re.MULTILINE)) == set(commands)
    for command in ("run", "conformance", "doctor", "fetch", "timeline"):
        taken = options(usage(command))
        assert taken <= set(re.findall(r"--[a-z][a-z-]+", page)) | {"--help"}, command
        known |= taken
    known |= options(usage("cache", "clean"))
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= known


def usage(*command: str) -> str:
    """What the command prints with --help."""
    argv = [sys.executable, "-m", "snp_harness", *command, "--help"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True).stdout


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def test_the_page_of_the_run_directory_has_every_file() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", page_text(DOCS / "run-directory.md"), re.MULTILINE)
    assert sorted(listed) == sorted(rundir.FILES)


def test_every_platform_and_configuration_is_named() -> None:
    platforms = re.findall(r"^\| `([a-z]+)` \|", page_text(DOCS / "platforms.md").split("\n\n| platform")[1], re.M)
    assert platforms == list(platform_names())
    for configuration in shipped_configs():
        assert f"`{configuration}`" in page_text(DOCS / "svsm-configs.md")


def test_the_api_page_has_every_public_name() -> None:
    page = page_text(DOCS / "api.md")
    documented = re.findall(
        r"^\.\. auto(?:class|exception|function|data):: snp_harness\.(\w+)(?![\w.])", page, re.MULTILINE
    )
    assert sorted(documented) == sorted(set(snp_harness.__all__) - {"__version__"})


def test_the_page_of_the_environment_has_every_variable() -> None:
    """Those that the code and the tests name, and no others of the same kind."""
    kinds = re.compile(r"\b(?:SNP_HARNESS_[A-Z_]*[A-Z]|XDG_[A-Z]+_HOME|SSH_AUTH_SOCK)\b")
    tests = [ROOT / "tests" / name for name in ("helpers/coconut.py", "platforms/test_kvm_unit_tests.py")]
    programs = [*SOURCES, ROOT / "hatch_build.py", *tests]
    read = {found for path in programs for found in kinds.findall(path.read_text(encoding="utf-8"))}
    assert set(kinds.findall(page_text(DOCS / "environment.md"))) == read


def test_the_messages_that_are_explained_are_those_of_the_code() -> None:
    joined = re.compile(r'"\s*\n\s*f?"')
    code = "\n".join(joined.sub("", path.read_text(encoding="utf-8")) for path in SOURCES)
    # How a long message is written on one line of code, and with what in its place.
    quoted = re.findall(r"^\*\*`(.+)`\*\*$", page_text(DOCS / "troubleshooting.md"), re.MULTILINE)
    assert len(quoted) > 30
    for message in quoted:
        for part in message.replace("qemu-system-x86_64", "...").split("..."):
            assert part.strip() in code, f"no message says {part.strip()!r}"


def test_the_promises_name_tests_that_exist() -> None:
    file = Path()
    count = 0
    for named in re.findall(r"`(tests/[\w/]+\.py|test_\w+)`", page_text(DOCS / "promises.md")):
        if named.startswith("tests/"):
            file = ROOT / named
            assert file.is_file(), f"promises.md names {named}"
        else:
            code = file.read_text(encoding="utf-8")
            assert re.search(rf"^def {named}\(", code, re.MULTILINE), f"{file} lacks {named}"
            count += 1
    assert count > 30


@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{name}.md" for name in ("tutorial", "overview", "report", "cli", "platforms", "contract"))],
)
def test_the_glossary_has_each_abbreviation(page: str) -> None:
    """Those of the pages that a reader meets first, but for what everybody knows."""
    common = ["BSD", "CI", "GPL", "HTML", "JSON", "OS", "RAM", "README", "SDM", "SIGHUP", "SIGTERM", "SSH", "TOML"]
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose(page_text(ROOT / page)))
    glossary = page_text(DOCS / "glossary.md")
    for word in set(re.findall(r"#?\b[A-Z][A-Z_]+\b", text)) - set(common):
        assert word in glossary, f"{page} has {word}, and the glossary lacks it"


def test_the_changelog_is_kept_in_form() -> None:
    """Keep a Changelog: an Unreleased part, then the versions; each in parts of known names."""
    page = page_text(ROOT / "CHANGELOG.md")
    versions = re.findall(r"^## \[([^\]]+)\]", page, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions[1:])
    assert len(versions) > 1
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", page, re.MULTILINE)) <= kinds


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [re.split(r"[<>=\[]", entry)[0] for entry in [*project["dependencies"], *extras["dev"], *extras["docs"]]]
    page = page_text(DOCS / "dependencies.md")
    first = [cell for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for cell in row.split(", ")]
    for package in named:
        assert package in first or f"{package}," in page, f"dependencies.md lacks {package}"


def test_the_page_of_the_plugin_has_every_option_marker_and_fixture(pytestconfig: pytest.Config) -> None:
    page = page_text(DOCS / "pytest.md")
    plugin_options = [name for name in vars(pytestconfig.option) if name.startswith("snp_")]
    assert len(plugin_options) > 5
    for option in plugin_options:
        flag = isinstance(pytestconfig.getoption(option), bool)
        assert f"| `--{option.replace('_', '-')}{'`' if flag else ' '}" in page
        assert flag or f"| `{option}` |" in page
    registered = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    for marker in (*map(marker_of, platform_names()), "snp_firmwares(", "snp_configs("):
        assert any(name.startswith(marker) for name in registered)
        assert f"| `{marker}" in page
    room = ROOT / "harness" / "snp_harness" / "testing"
    plugin = "\n".join(path.read_text(encoding="utf-8") for path in room.glob("*.py"))
    fixtures = re.findall(r"^@pytest\.fixture.*\ndef (\w+)", plugin, re.MULTILINE)
    assert len(fixtures) > 4
    for fixture in fixtures:
        assert f"| `{fixture}` |" in page


@pytest.fixture(scope="session")
def trixie() -> Path:
    """The firmware that the pages show: Debian's, fetched. Before `pytester` hides the cache with another HOME."""
    firmware = cached_firmware("debian:trixie")
    if firmware is None:
        pytest.skip("debian:trixie is not fetched: run `snp-harness fetch firmware trixie`")
    return firmware.path


@pytest.mark.emulated
@pytest.mark.usefixtures("trixie")
def test_the_readme_shows_what_make_run_prints(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "snp_harness", "run", "--firmware", "debian:trixie"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    said = re.search(r'echo "(Exit status 1: .*)"', (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert said is not None
    block = shown(page_text(ROOT / "README.md"), "make run")
    # The last line names variables that are set here, as by make test-paths.
    again, shown_again = (" ".join(rerun(argv[3:], found)) for found in (rundir.variables(), {}))
    assert again in done.stdout
    output = f"{done.stdout.replace(again, shown_again)}{said.group(1)}\n"
    assert matches(block, output), f"README.md shows\n{block}\nand the command prints\n{output}"


def test_what_differs_is_found() -> None:
    """The comparison above fails where it must."""
    assert matches("a  ...  z\n...\nend\n", "a b c z\nmore\nand more\nend\n")
    assert matches("SecMain+3B52 0.8 s\n", "SecMain+4CD9 12.1 s\n")
    assert not matches("a\nend\n", "a\nmore\nend\n")
    assert not matches("holds  7 accesses\n", "violated  7 accesses\n")


@pytest.mark.emulated
@pytest.mark.usefixtures("trixie")
def test_the_programs_of_the_api_page_run(tmp_path: Path) -> None:
    programs = page_text(DOCS / "api.md").split("```python\n")
    assert len(programs) == 3
    printed = []
    for part in programs[1:]:
        argv = [sys.executable, "-c", part.split("```")[0]]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    assert printed[1] == ["violated 22", "alive"]
    first, *rest = printed[0]
    assert first == "violated 7 local-APIC accesses in SEC before x2APIC mode"
    assert "SVR read SecMain SEC" in rest
    assert (tmp_path / "run" / "verdict.json").is_file()


@pytest.mark.emulated
def test_the_tests_that_the_pages_show_pass(pytester: pytest.Pytester, trixie: Path) -> None:
    """docs/pytest.md's on the fetched firmware, with configurations under which it keeps their rules."""
    for file, text in files(page_text(DOCS / "pytest.md")).items():
        pytester.path.joinpath(file).write_text(text, encoding="utf-8")
    options = ("-p", "no:hypothesispytest", f"--snp-firmware={trixie}")
    result = pytester.runpytest(*options, "--snp-update-golden")
    # Stock firmware does not keep the contract; what the page boots with a fixed one is violated here, not broken.
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_contract.py::*", "*1 failed, 7 passed*"])
    pytester.runpytest(*options, "test_accesses.py").assert_outcomes(passed=1)
    assert (pytester.path / "runs").is_dir()


@pytest.mark.emulated
@pytest.mark.slow
def test_the_test_of_the_page_about_linux_passes(
    pytester: pytest.Pytester, trixie: Path, linux_image: LinuxImage
) -> None:
    pytester.makepyfile(test_linux=files(page_text(DOCS / "linux-guest.md"))["test_linux.py"])
    result = pytester.runpytest("-p", "no:hypothesispytest", f"--snp-firmware={trixie}")
    result.assert_outcomes(passed=1)


@pytest.mark.emulated
def test_the_test_of_the_tutorial_finds_a_violation(pytester: pytest.Pytester, trixie: Path) -> None:
    shown_files = files(page_text(DOCS / "tutorial.md"))
    assert sorted(shown_files) == ["ci.sh", "test_contract.py"]
    pytester.makepyfile(test_contract=shown_files["test_contract.py"])
    result = pytester.runpytest("-p", "no:hypothesispytest", f"--snp-firmware={trixie}", "--snp-require=emulated")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: the contract does not hold",
            "*violated: 7 local-APIC accesses in SEC before x2APIC mode*",
            "*snp-harness artefacts*",
            "*verdict.json*",
        ]
    )


def test_the_script_of_the_tutorial_is_one_for_a_shell(tmp_path: Path) -> None:
    script = tmp_path / "ci.sh"
    script.write_text(files(page_text(DOCS / "tutorial.md"))["ci.sh"], encoding="utf-8")
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=60)
    for path in re.findall(r"snp-harness/(\.\S+)", script.read_text(encoding="utf-8")):
        if not path.startswith(".venv"):
            assert os.access(ROOT / path, os.X_OK)
