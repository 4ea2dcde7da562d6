"""Synthetic textbooks: short sections that explain a topic to an audience (phi-1, section 2.2; phi-1.5 for general
knowledge, where an extract of a real document may be the start)."""

import json
import re
from functools import partial

from hornbook.records import Document, content_id
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import TextbooksStep
from hornbook.synthesize.sampling import draw_extracts, read_topics, section_requests, sections_in_reach
from hornbook.synthesize.writing import Commission, Written, write_distinct
from hornbook.teacher.load import sent_prompts
from hornbook.teacher.request import Answer, Request, TextbookRequest, prompt_of_section

STEP, SOURCE = "textbooks", "textbook"
OVERLAP_WORDS = 8  # of a phrase that counts as copied: shorter ones are shared by texts that never met


def write_textbooks(config: TextbooksStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher write `count` distinct sections.

    Topics are those of `inputs["topics"]`, where there is such an input, else the teacher's own. Where there is
    `inputs["extracts"]` (documents), each section starts from a piece of one of them.

    Writes documents.parquet (Document, source `textbook`; meta: topic, path, audience, style, request, and for an
    extract its content id and the overlap), dropped.parquet (reasons `duplicate`, `copied`) and failed.parquet.
    """
    asked = config.textbooks
    topics = read_topics(inputs.get("topics"))
    extracts = draw_extracts(inputs.get("extracts"), config.seed)
    commission = Commission(
        step=STEP,
        table="documents.parquet",
        row_type=Document,
        unit="sections",
        teacher=asked.teacher,
        count=asked.count,
        failure_limit=asked.failure_limit,
        request=partial(section_requests(asked.teacher, asked.about, topics, extracts), config.seed),
        written=partial(judge, 1.0 if asked.extracts is None else asked.extracts.max_overlap),
    )
    prompt = prompt_of_section(asked.about, asked.extracts is not None)
    reach = sections_in_reach(asked.teacher, asked.about, topics)
    return write_distinct(commission, work, {"prompts": sent_prompts(asked.teacher, prompt), "in_reach": reach})


def judge(max_overlap: float, request: Request[str], answer: Answer[str]) -> Written[Document]:
    """The row of a section, and whether it copies its extract."""
    text = answer.value
    assert text is not None  # answers without a value never come here
    assert isinstance(request, TextbookRequest)
    meta = {"topic": request.topic, "audience": request.audience, "style": request.style, "request": answer.request}
    if request.path:
        meta["path"] = request.path
    reason = detail = ""
    if request.extract:
        overlap = overlap_with(text, request.extract)
        meta |= {"extract": content_id(request.extract), "overlap": f"{overlap:.4f}"}
        if overlap > max_overlap:
            reason, detail = "copied", f"{overlap:.1%} of its {OVERLAP_WORDS}-word phrases stand in the extract"
    row = Document(content_id(text), text, SOURCE, json.dumps(meta, ensure_ascii=False))
    return Written(row, row.id, request.topic, (), reason, detail)


def overlap_with(text: str, extract: str) -> float:
    """The share of a text's word 8-grams that stand in the extract too, case and punctuation aside."""
    phrases = _phrases(text)
    return len(phrases & _phrases(extract)) / len(phrases) if phrases else 0.0


def _phrases(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[start : start + OVERLAP_WORDS]) for start in range(len(words) - OVERLAP_WORDS + 1)}
