"""Synthetic textbooks: short sections that explain a topic to an audience, with code that runs (phi-1, section 2.2)."""

import json

from hornbook.recipe import TextbooksStep
from hornbook.records import Document, Dropped, content_id
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.synthesize.topics import sections_in_reach, textbook_request
from hornbook.synthesize.writing import Chunk, Written, write_distinct
from hornbook.tables import TableWriter
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import TeacherError, request_id

STEP, SOURCE = "textbooks", "textbook"


def write_textbooks(config: TextbooksStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher write `count` distinct sections.

    Writes documents.parquet (Document, source `textbook`; meta: topic, audience, style, request), dropped.parquet
    (reason `duplicate`) and failed.parquet (requests the teacher could not answer).
    """
    asked = config.textbooks
    with (
        TableWriter(work.directory / "documents.parquet", Document) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(work.directory / "failed.parquet", Dropped) as failed,
        work.progress.bar(STEP, asked.count, "sections") as bar,
    ):
        workers = work.machine.workers or cpu_quota()
        tables = (kept, dropped, failed)
        tally = write_distinct(write_chunk, asked.teacher, config.seed, asked.count, workers, tables, STEP, bar)
    facts = {
        "teacher": load_teacher(asked.teacher).name,
        "requested": asked.count,
        "asked": tally.asked,
        "distinct": tally.kept,
        "in_reach": sections_in_reach(),
        "topics": dict(sorted(tally.topics.items())),
    }
    return Result(Counts(tally.asked, tally.kept, {"duplicate": tally.duplicates}, tally.failed), facts)


def write_chunk(chunk: Chunk) -> list[Written[Document]]:
    """The sections of a range of requests, in order."""
    teacher = load_teacher(chunk.teacher)
    written = []
    for number in range(chunk.start, chunk.stop):
        request = textbook_request(chunk.seed, number)
        asked = request_id(request)
        try:
            text = teacher.write_textbook(request)
        except TeacherError as error:
            written.append(Written[Document](None, asked, request.topic, failure=str(error)))
            continue
        meta = {"topic": request.topic, "audience": request.audience, "style": request.style, "request": asked}
        row = Document(content_id(text), text, SOURCE, json.dumps(meta, ensure_ascii=False))
        written.append(Written(row, row.id, request.topic))
    return written
