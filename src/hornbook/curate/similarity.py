"""How alike two texts or two programs are."""

import ast
import builtins
import hashlib
from collections.abc import Iterator, Sequence

# A smaller program says too little to be anybody's: `return sorted(set(xs))` has 6 nodes, while `return [x for x in xs
# if x > 0]`, about the smallest reference of HumanEval that could be told from another, has 10.
MIN_NODES = 8

SKIPPED_FIELDS = frozenset(("annotation", "returns", "type_comment", "ctx", "type_params", "kind"))
BUILTINS = frozenset(dir(builtins))
NAME_FIELDS = frozenset(("id", "arg", "name", "names", "asname", "rest"))

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def word_ngrams(words: Sequence[str], n: int) -> set[int]:
    """The n-grams of a text, as hashes good within this process; a text of fewer than n words is one n-gram."""
    if len(words) < n:
        return {hash(tuple(words))}
    return set(map(hash, zip(*(words[start:] for start in range(n)), strict=False)))


def jaccard(a: set[int], b: set[int]) -> float:
    """Size of the intersection over size of the union, in 0 to 1."""
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def definitions_of(tree: ast.AST) -> Iterator[Definition]:
    """All functions and classes of a program, nested ones and methods too."""
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            yield node


def canonical_form(definition: Definition) -> tuple[str, int]:
    """A function or class up to renaming: its digest, and how many nodes its body has.

    Two functions have one digest where they differ only in the names of their parameters and variables and their own,
    in docstrings, annotations, comments and layout. Constants, operators, attributes, and names the function does not
    itself bind (builtins, modules) count. This is the extreme (a match rate of 1.0) of the syntax distance of phi-1,
    section 5.2, save that it tells `sum` from `max`.

    Raises RecursionError for a definition nested too deep to walk.
    """
    form = _Canonical(definition)
    digest = hashlib.blake2b("\n".join(form.parts).encode("utf-8", "surrogatepass"), digest_size=16)
    return digest.hexdigest(), form.nodes


def renamed(definition: Definition, suffix: str) -> str:
    """The source of a definition with every name it binds changed, and nothing else."""
    (copy,) = ast.parse(ast.unparse(definition)).body
    bound = bound_names(definition)
    for node in ast.walk(copy):
        for field in NAME_FIELDS.intersection(node._fields) if not isinstance(node, ast.keyword) else ():
            value = getattr(node, field)
            if isinstance(value, str) and value in bound:
                setattr(node, field, value + suffix)
            elif isinstance(value, list):
                setattr(node, field, [n + suffix if isinstance(n, str) and n in bound else n for n in value])
    return ast.unparse(copy)


class _Canonical:
    """One walk over a definition, in the order of its fields."""

    def __init__(self, definition: Definition) -> None:
        self.bound = bound_names(definition)
        self.numbers: dict[str, int] = {}
        self.parts: list[str] = []
        self.nodes = 0
        for head in definition.bases if isinstance(definition, ast.ClassDef) else (definition.args,):
            self._visit(head)
        self.nodes = 0  # parameters do not make a program larger
        self._block(definition.body)

    def _name(self, name: str) -> str:
        if name not in self.bound:
            return name
        return f"${self.numbers.setdefault(name, len(self.numbers))}"

    def _block(self, statements: list[ast.stmt]) -> None:
        """A body without what does nothing: docstrings and other bare strings, `pass`."""
        for statement in statements:
            if isinstance(statement, ast.Pass):
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            self._visit(statement)

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._visit(ast.Assign(targets=[node.target], value=node.value))
            return
        self.nodes += 1
        self.parts.append(type(node).__name__)
        for field in node._fields:
            if field in SKIPPED_FIELDS:
                continue
            value = getattr(node, field, None)
            if isinstance(node, ast.keyword) and field == "arg":
                self.parts.append(str(value))  # names a parameter of what is called, whatever is bound here
            elif isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    self._block(value)
                else:
                    for item in value:
                        self._leaf(field, item)
                self.parts.append(")")
            else:
                self._leaf(field, value)

    def _leaf(self, field: str, value: object) -> None:
        if isinstance(value, ast.AST):
            self._visit(value)
        elif isinstance(value, str) and field in NAME_FIELDS:
            self.parts.append(self._name(value))
        elif value is not None:
            self.parts.append(repr(value))
        else:
            self.parts.append("-")


def bound_names(definition: Definition) -> set[str]:
    """Every name the definition binds, its own among them unless a builtin has it, which it may mean."""
    bound = {definition.name} - BUILTINS
    for node in ast.walk(definition):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, Definition | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            if node.name and node is not definition:
                bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.alias) and node.asname:
            bound.add(node.asname)
    return bound
