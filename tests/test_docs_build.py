"""The pages of docs/ build without a warning, need no network, and name every public name."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))

pytestmark = [
    pytest.mark.skipif(
        find_spec("mkdocs") is None or find_spec("mkdocstrings") is None or find_spec("material") is None,
        reason="mkdocs is not installed: pip install 'forethought[docs]'",
    ),
]


class Links(HTMLParser):
    """What a page loads, what it links to, and the ids it defines."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(given["id"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.add(given["src"])
        if tag == "link" and given.get("href") and given.get("rel") != "canonical":
            self.loads.add(given["href"])
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages; a warning, such as one for a broken link or anchor, fails the build."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_built(pages, site):
    built = {path.relative_to(site).parts[0] for path in pages}
    assert {page.stem for page in PAGES} - {"index"} <= built


def test_a_page_loads_nothing_from_elsewhere(pages):
    for path, links in pages.items():
        assert not [target for target in links.loads if re.match(r"(?:\w+:)?//", target)], path


def test_links_lead_to_pages_and_anchors_that_exist(pages, site):
    checked = 0
    for path, links in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for target in links.links:
            if re.match(r"\w+:|//", target):
                continue
            file, _, anchor = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            found = found / "index.html" if found.is_dir() else found
            assert found.is_file(), f"{path.relative_to(site)} links to {target}"
            assert not anchor or found.suffix != ".html" or anchor in pages[found].ids, f"{path}: {target}"
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("package", ["planning", "control", "llm", "evals"])
def test_the_reference_describes_every_public_name(pages, site, package):
    name = f"forethought.{package}"
    described = pages[site / "reference" / package / "index.html"].ids
    names = {each: {f"{name}.{each}", f"{name}.{each}.{each}"} for each in import_module(name).__all__}
    missing = [each for each, ids in names.items() if not ids & described]  # the second is of a module of that name
    assert not missing, f"the reference of {name} lacks {', '.join(missing)}"


def test_the_fields_of_a_docstring_are_a_list(site):
    text = (site / "reference" / "planning" / "index.html").read_text(encoding="utf-8")
    assert "<strong>reward</strong>: [K] reward of the step that reached the state." in text
