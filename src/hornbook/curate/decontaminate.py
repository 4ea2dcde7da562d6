"""The step `decontaminate`: what overlaps with a test set leaves the training data (phi-1, section 5)."""

import ast
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hornbook import testsets
from hornbook.curate.overlap import Needles, NgramIndex, Overlap, words_of
from hornbook.curate.rows import Row, RowTable, table_of, text_of
from hornbook.curate.similarity import MIN_NODES, BUILTINS, Definition, canonical_form, definitions_of
from hornbook.errors import UserError
from hornbook.recipe import DecontaminateConfig, DecontaminateStep
from hornbook.records import Document, Dropped, Exercise, Problem, ScoredDocument
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota, ordered_map
from hornbook.tables import TableWriter, count_rows, read_rows

Testsets = Mapping[str, Sequence[Problem]]

# Exercises come from the grammar that drill comes from, and share its phrases and idioms by construction. So drill's
# n-grams are those of its statements alone, and in an exercise only the docstring is held against them, docstring
# against docstring as in the paper; its programs are compared as syntax trees.
OF_THE_GRAMMAR = frozenset(("drill",))
CHUNK_CHARACTERS = 2_000_000
ROWS_PER_WORKER = 4000  # a worker takes about a second to start: fewer rows are quicker without another
SPAN_CHARACTERS = 300
FENCED = re.compile(r"^```(?:python|py)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)

INNOCENT = '''
def brew_table(kettles, minutes):
    """Tell when each kettle in the harbour canteen will be warm enough for the nine o'clock ferry crew."""
    ready = {}
    for kettle, warmth in kettles.items():
        missing = max(0, 96 - warmth)
        ready[kettle] = minutes + missing * 7 // 3
    return sorted(ready.items(), key=lambda pair: (pair[1], pair[0]))
'''
CARRIER = '''
def settle(harbour, ledger):
    """The canteen opens early. {} The ferry leaves at nine."""
    return [name for name, debt in ledger.items() if debt > harbour.allowance * 3 and name not in harbour.closed]
'''
EOF
