"""The pages that promise a command name one that exists."""

from __future__ import annotations

import re

import pytest

from tests.scenarios.__main__ import DOCUMENT

DOCS = DOCUMENT.parent
ROOT = DOCS.parent
PAGES = ("peer-review.md", "health.md", "verdicts.md")
PATH = re.compile(r"(?:tests|configs|examples|gateway_proxy|bench)/[\w/.-]+\w")


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_targets_exist(page: str):
    """Every file, make target and linked page that is named can be found."""
    text = (DOCS / page).read_text()
    targets = set(re.findall(r"make ([a-z][a-z-]*)", text))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))

    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists() and "NAME" not in path]
    assert missing == []
    assert targets <= known
    assert all((DOCS / link).exists() for link in re.findall(r"\]\(([\w-]+\.md)\)", text))


def test_every_question_is_answered_with_a_command():
    """Q0 to Q15, each with something to run."""
    text = (DOCS / "peer-review.md").read_text()
    answers = re.split(r"^### Q", text, flags=re.M)[1:]

    assert [answer.split(".")[0] for answer in answers] == [str(number) for number in range(16)]
    assert all("*Show:*" in answer and "`" in answer.split("*Show:*")[1] for answer in answers)
