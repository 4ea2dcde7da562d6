"""What the offline rater sees of a Python file: counts per function and for all that stands outside of functions."""

import ast
import re
import sys
from dataclasses import dataclass, field

LARGE_LITERAL = 16  # elements from which a list, tuple, set or dict counts as a table of data
LONG_STRING_LINES = 12  # lines from which a string that is no docstring counts as data
WORD = re.compile(r"[A-Za-z]{2,}")

# `import numpy as np` is part of what a beginner reads; a name taken from deep inside a package is not.
FAMILIAR_LIBRARIES = frozenset({"numpy", "pandas", "matplotlib", "torch"})
# Machinery a first course leaves out: reflection, code at run time, foreign memory.
# fmt: off
ADVANCED_CALLS = frozenset((
    "getattr", "setattr", "delattr", "hasattr", "exec", "eval", "compile", "__import__", "globals", "locals", "vars",
    "super", "type", "id", "callable",
))
ADVANCED_MODULES = frozenset((
    "abc", "ast", "asyncio", "codecs", "concurrent", "contextvars", "ctypes", "dis", "email", "fcntl", "gc", "http",
    "imp", "importlib", "inspect", "logging", "multiprocessing", "opcode", "optparse", "pickle", "pkgutil", "select",
    "selectors", "signal", "site", "socket", "ssl", "subprocess", "symtable", "sys", "sysconfig", "threading",
    "tokenize", "traceback", "types", "typing", "unittest", "urllib", "warnings", "weakref", "winreg", "xml", "xmlrpc",
    "zipimport",
))
# fmt: on

LOOPS = (ast.For, ast.While, ast.AsyncFor)
BRANCHES = (ast.If, ast.IfExp, ast.BoolOp)
ARITHMETIC = (ast.BinOp, ast.Compare, ast.AugAssign, ast.Subscript)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ADVANCED = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Global, ast.Nonlocal, ast.Lambda, ast.Starred, ast.YieldFrom)
CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
LEAVES = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


@dataclass(slots=True)
class Block:
    """What stands in one function, or in everything outside of functions."""

    name: str = ""
    lines: int = 0
    doc_words: int = 0
    has_example: bool = False
    statements: int = 0
    loops: int = 0
    branches: int = 0
    arithmetic: int = 0
    comprehensions: int = 0
    returns: int = 0
    asserts: int = 0
    advanced: int = 0
    self_uses: int = 0  # reads of `self.x`
    self_stores: int = 0  # assignments to `self.x`
    data_lines: int = 0
    names: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)  # names imported from this project or an unfamiliar package


@dataclass(slots=True)
class Outline:
    """A file as the rules see it."""

    functions: list[Block] = field(default_factory=list)
    outside: Block = field(default_factory=Block)
    classes: int = 0
    class_fields: int = 0
    imports: int = 0
    foreign_imports: int = 0
    advanced_imports: int = 0
    plain_assignments: int = 0  # at module level, to a name, of a value that computes nothing
    doc_words: int = 0


def read_outline(tree: ast.Module) -> Outline:
    """The outline of a parsed file.

    One pass over the module and class level; each function is then read by itself, nested ones with their outer.
    """
    outline = Outline(doc_words=_words(ast.get_docstring(tree, clean=False)))
    foreign: set[str] = set()
    definitions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    pending: list[tuple[ast.AST, bool]] = [(node, False) for node in reversed(tree.body)]
    while pending:
        node, in_class = pending.pop()
        if isinstance(node, DEFINITIONS):
            definitions.append(node)
        elif isinstance(node, ast.ClassDef):
            outline.classes += 1
            outline.outside.advanced += len(node.keywords) + len(node.decorator_list)
            outline.doc_words += _words(ast.get_docstring(node, clean=False))
            pending.extend((child, True) for child in reversed(node.body))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _read_import(node, outline, foreign)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            outline.outside.statements += 1
            _count(node, type(node), outline.outside)
            for condition in (getattr(node, "test", None), getattr(node, "iter", None)):
                if condition is not None:
                    _read(condition, outline.outside)
            parts = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            parts.extend(handler.body for handler in getattr(node, "handlers", []))
            pending.extend((child, in_class) for part in reversed(parts) for child in reversed(part))
        else:
            _read_plain_statement(node, in_class, outline)
    outline.functions = [_function(node, foreign) for node in definitions]
    return outline


def _read_import(node: ast.Import | ast.ImportFrom, outline: Outline, foreign: set[str]) -> None:
    for module in [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]:
        outline.imports += 1
        root = module.split(".")[0]
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        standard = (root in sys.stdlib_module_names and not root.startswith("_")) or root == "__future__"
        if not relative and (standard or module in FAMILIAR_LIBRARIES):
            outline.advanced_imports += root in ADVANCED_MODULES
            continue
        outline.foreign_imports += 1
        for alias in node.names:
            foreign.add(alias.asname or alias.name.split(".")[0])


def _read_plain_statement(node: ast.AST, in_class: bool, outline: Outline) -> None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring, or a bare string
    _read(node, outline.outside)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        outline.class_fields += in_class
        value = node.value
        outline.plain_assignments += value is None or isinstance(
            value, (ast.Constant, ast.Name, ast.Attribute, ast.Call, *CONTAINERS)
        )


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, foreign: set[str]) -> Block:
    block = Block(node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
    docstring = ast.get_docstring(node, clean=False)
    block.doc_words = _words(docstring)
    block.has_example = docstring is not None and ">>>" in docstring
    block.advanced += isinstance(node, ast.AsyncFunctionDef)
    block.advanced += sum(getattr(mark, "id", "") not in ("property", "staticmethod") for mark in node.decorator_list)
    block.advanced += (node.args.vararg is not None) + (node.args.kwarg is not None)
    for child in node.body[docstring is not None :]:
        _read(child, block)
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if default is not None:
            _read(default, block)
    block.foreign = block.names & foreign
    block.names = set()
    return block


def _read(root: ast.AST, block: Block) -> None:
    """Count what stands under a node. Iterative: a tree may be deeper than Python's stack."""
    pending = [root]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is ast.Name:
            name = node.id  # type: ignore[attr-defined]
            block.names.add(name)
            block.advanced += name in ADVANCED_CALLS
            continue
        if kind is ast.Constant:
            _read_constant(node, block)  # type: ignore[arg-type]
            continue
        if isinstance(node, LEAVES):
            continue
        if isinstance(node, ast.stmt):
            block.statements += 1
        if isinstance(node, CONTAINERS):
            elements = node.values if isinstance(node, ast.Dict) else node.elts
            if len(elements) >= LARGE_LITERAL:
                block.data_lines += (node.end_lineno or node.lineno) - node.lineno + 1
                continue
        _count(node, kind, block)
        for name in kind._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                pending.append(value)
            elif type(value) is list:
                pending.extend(item for item in value if isinstance(item, ast.AST))


def _read_constant(node: ast.Constant, block: Block) -> None:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines >= LONG_STRING_LINES:
        block.data_lines += lines


def _count(node: ast.AST, kind: type[ast.AST], block: Block) -> None:
    if kind is ast.Attribute:
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):  # type: ignore[attr-defined]
            if isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                block.self_stores += 1
            else:
                block.self_uses += 1
    elif kind in ARITHMETIC:
        block.arithmetic += 1
    elif kind in BRANCHES:
        block.branches += 1
    elif kind in LOOPS:
        block.loops += 1
    elif kind in COMPREHENSIONS:
        block.comprehensions += 1
    elif kind is ast.Return:
        block.returns += 1
    elif kind is ast.Assert:
        block.asserts += 1
    elif kind in ADVANCED:
        block.advanced += 1


def _words(docstring: str | None) -> int:
    return 0 if docstring is None else len(WORD.findall(docstring))
