"""The made-up runs, and their pages."""

import pytest
from build_run import build_builtin_run, build_run
from read_page import Page, page_of

from hornbook.report.render import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    work = tmp_path_factory.mktemp("run") / "work"
    return work, build_run(work)


@pytest.fixture(scope="session")
def builtin_run(tmp_path_factory):
    work = tmp_path_factory.mktemp("builtin") / "work"
    return work, build_builtin_run(work)


@pytest.fixture(scope="session")
def written(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(*run, out)
    return out


@pytest.fixture(scope="session")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def builtin_page(builtin_run, tmp_path_factory):
    return page_of(builtin_run, tmp_path_factory.mktemp("report"))
