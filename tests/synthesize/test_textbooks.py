"""Textbook sections: what they print is what their code prints."""

import contextlib
import io
import json
import re
from functools import cache
from random import Random

from hornbook.recipe import MachineConfig, TextbooksConfig, TextbooksStep
from hornbook.records import Document, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.synthesize.textbooks import write_textbooks
from hornbook.synthesize.topics import TOPICS, textbook_request
from hornbook.tables import read_rows
from hornbook.teacher.builtin.finishes import FINISHES
from hornbook.teacher.builtin.grammar import FAMILIES, is_reserved
from hornbook.teacher.builtin.lessons import AUDIENCES, TOOLS
from hornbook.teacher.builtin.lessons import TOPICS as LESSONS
from hornbook.teacher.builtin.textbook import STYLES, printable_example
from hornbook.teacher.load import load_teacher

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
ANSWER = re.compile(r"Question: what does `(.*)` print\?\n\nAnswer: it prints `(.*)`\.")


@cache
def sections(count):
    teacher = load_teacher("builtin")
    return [(request, teacher.write_textbook(request)) for request in (textbook_request(4, n) for n in range(count))]


def output_of(program):
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        exec(program, {"__name__": "section"})
    return heard.getvalue()


def test_printed_outputs_are_real():
    for _, text in sections(400):
        blocks = BLOCK.findall(text)
        assert blocks
        for block in blocks:
            assert output_of(block) == "".join(line + "\n" for line in PRINTED.findall(block))


def test_answers_are_real():
    answered = 0
    for request, text in sections(400):
        for call, answer in ANSWER.findall(text):
            definition = BLOCK.findall(text)[0].split("\n\n\nprint(")[0]
            assert output_of(f"{definition}\n{call}\n") == answer + "\n"
            answered += 1
        assert (request.style == "question and answer") == bool(ANSWER.search(text))
    assert answered > 40


def test_sections_read_like_text():
    for request, text in sections(400):
        prose = INLINE.sub("code", BLOCK.sub("code", text))
        words = len(re.findall(r"\w+", prose))
        assert 35 <= words <= 220, text
        assert text.startswith("# ")
        assert request.topic.lower() in text.split("\n")[0].lower()
        assert not re.search(r"@|  +[A-Z]|\n\n\n| \.| ,", prose), text
        assert "@" not in text.replace('"@"', "")


def test_every_topic_reader_and_tool_has_its_prose():
    assert set(LESSONS) == {family.name for family in FAMILIES}
    assert set(TOOLS) == {finish.name for finish in FINISHES}
    assert all(len(sentences) >= 2 for sentences in LESSONS.values())
    assert len(AUDIENCES) >= 10
    for sentences in (*LESSONS.values(), *TOOLS.values(), *AUDIENCES.values()):
        for sentence in sentences:
            assert sentence[0].isupper()
            assert sentence.endswith(".")


def test_examples_are_never_reserved():
    for family in FAMILIES:
        for seed in range(5):
            assert not is_reserved(printable_example(family, Random(seed)).made.composition)


def run(directory, count, workers):
    directory.mkdir()
    config = TextbooksStep(textbooks=TextbooksConfig(teacher="builtin", count=count), seed=4)
    return write_textbooks(config, {}, Workspace(directory, MachineConfig(workers=workers), Silent()))


def test_the_step(tmp_path):
    result = run(tmp_path / "1", 300, 1)
    run(tmp_path / "2", 300, 2)
    rows = list(read_rows(tmp_path / "1" / "documents.parquet", Document))
    assert (tmp_path / "1" / "documents.parquet").read_bytes() == (tmp_path / "2" / "documents.parquet").read_bytes()
    assert result.counts.balanced()
    assert len({row.text for row in rows}) == len(rows) == result.counts.kept == 300
    assert {row.source for row in rows} == {"textbook"}
    for row in rows:
        meta = json.loads(row.meta)
        assert row.id == content_id(row.text)
        assert meta["topic"] in TOPICS
        assert meta["audience"] in AUDIENCES
        assert meta["style"] in STYLES
    assert len({json.loads(row.meta)["audience"] for row in rows}) == len(AUDIENCES)
    assert [row.text for row in rows[:20]] == [text for _, text in sections(400)[:20]]
