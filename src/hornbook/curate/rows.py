"""The tables that curation works on: documents, scored documents, and exercises."""

from dataclasses import dataclass
from pathlib import Path

from hornbook.errors import UserError
from hornbook.records import Document, Exercise, ScoredDocument
from hornbook.tables import column_names

Row = Document | ScoredDocument | Exercise


@dataclass(frozen=True, slots=True)
class RowTable:
    """A table in a step's directory, and what its rows are."""

    path: Path
    row_type: type[Row]
    text_columns: tuple[str, ...]  # joined, they are the text of a row
    score_column: str  # empty where rows have no score


def table_of(directory: Path) -> RowTable:
    """The table of texts a step has written: `exercises.parquet` or `documents.parquet`, scored or not.

    Raises UserError where there is neither.
    """
    exercises, documents = directory / "exercises.parquet", directory / "documents.parquet"
    if exercises.exists():
        return RowTable(exercises, Exercise, ("prompt", "solution"), "")
    if not documents.exists():
        raise UserError(f"{directory}: holds neither documents.parquet nor exercises.parquet")
    if "score" in column_names(documents):
        return RowTable(documents, ScoredDocument, ("text",), "score")
    return RowTable(documents, Document, ("text",), "")


def text_of(row: Row) -> str:
    """What a model would be trained on."""
    return row.prompt + row.solution if isinstance(row, Exercise) else row.text
