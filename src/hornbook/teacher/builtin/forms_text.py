"""Families on single strings, two strings, dates, formatted text, and small classes."""

from collections.abc import Sequence
from typing import Any

from hornbook.teacher.builtin.compose import Choice, Draft, Family, Parameter, noun_phrase, say, tags_of, type_of
from hornbook.teacher.builtin.forms_numbers import RESULT, branch_allowed, branching, stepping, steps_allowed
from hornbook.teacher.builtin.primitives import changes, conditions
from hornbook.teacher.builtin.wording import (
    DAY,
    FORMATTED_NUMBER,
    FORMATTED_WORD,
    INTS,
    SINGULAR,
    STATE,
    TEXTS,
    TWO_WORDS,
    WORD,
    Pen,
)  # fmt: skip

STR_CONDITIONS, STR_CHANGES = conditions("str"), changes("str")
STR_TO_STR = tuple(change for change in STR_CHANGES if change.gives == "str")
INT_CONDITIONS, INT_CHANGES = conditions("int"), changes("int")
INT_TO_INT = tuple(change for change in INT_CHANGES if change.gives == "int")
CHAR_CONDITIONS, CHAR_CHANGES = conditions("char"), changes("char")
CHAR_TO_CHAR = tuple(change for change in CHAR_CHANGES if change.gives == "char")


def _validation(parts: Sequence[Any], pen: Pen) -> Draft:
    first, second, link, third = parts
    name = pen.pick(WORD)
    words = [first.holds(pen), second.holds(pen)]
    codes = [first.code(name), second.code(name)]
    if third:
        words.append(third.holds(pen))
        codes.append(third.code(name))
    said = f" {link.name} ".join(words)
    doc = pen.choice((f"Return True if {name} {said}.", f"Check whether {name} {said}."))
    body = (f"return {f' {link.name} '.join(codes)}",)
    return Draft((Parameter(name, "str", "word"),), "bool", doc, body,
                 (("is_valid", "check", "accept", "validate"), *tags_of(first, second)))  # fmt: skip


def _validation_allowed(parts: Sequence[Any]) -> bool:
    first, second, _, third = parts
    present = [part for part in (first, second, third) if part is not None]
    named = [part.parameter for part in present if part.parameter]
    names = {part.name for part in present}
    if names >= {"palindrome", "same_ends"}:  # the one says the other
        return False
    return len(names) == len(present) and len(set(named)) == len(named)


def _substitution(parts: Sequence[Any], pen: Pen) -> Draft:
    condition, second, replacement = parts
    name = pen.pick(TEXTS)
    mask = isinstance(replacement.part, Choice)
    said = replacement.phrase(pen) if mask else f"its {replacement.by()}"
    code = replacement.fill(replacement.part.code) if mask else replacement.code("c")
    which, test = condition.holds(pen), condition.code("c")
    if second:
        which, test = f"{which} or {second.holds(pen)}", f"{test} or {second.code('c')}"
    doc = pen.choice((f"Return {name} with each character that {which} replaced by {said}.",
                      f"In {name}, replace each character that {which} by {said}."))  # fmt: skip
    body = (f'return "".join({code} if {test} else c for c in {name})',)
    return Draft((Parameter(name, "str", "text"),), "str", doc, body,
                 (("replace", "mask", "encode"), *tags_of(condition, second, replacement), ("text",)))  # fmt: skip


def _substitution_allowed(parts: Sequence[Any]) -> bool:
    condition, second, replacement = parts
    present = [part for part in parts if part is not None]
    cased = replacement.name in ("c_upper", "c_lower", "c_swapcase")
    if cased and {"digit", "not_letter", "punctuation", replacement.name} & {part.name for part in present[:-1]}:
        return False
    if second is not None and (second.name == condition.name or {second.name, condition.name} & NEARLY_ALL):
        return False
    named = [part.parameter for part in present if getattr(part, "parameter", "")]
    return len(set(named)) == len(named)


NEARLY_ALL = frozenset(("c_other", "not_in_set", "not_space"))  # `or` with one of these says little
MASKS = Choice("mask", "@k", ("@k",), (("*",), ("#",), ("-",), ("_",), ("?",), ("x",)), ("hidden", "masked"))


def _word_substitution(parts: Sequence[Any], pen: Pen) -> Draft:
    condition, change = parts
    name = pen.pick(TEXTS)
    doc = pen.choice((f"Return {name} with each word that {condition.holds(pen)} replaced by its {change.by()}.",
                      f"In {name}, replace each word that {condition.holds(pen)} by its {change.by()}."))  # fmt: skip
    body = (f'return " ".join({change.code("w")} if {condition.code("w")} else w for w in {name}.split())',)
    return Draft((Parameter(name, "str", "sentence"),), "str", doc, body,
                 (("replace_words", "rewrite", "edit"), *tags_of(condition, change), ("text",)))  # fmt: skip


def _same_kind(parts: Sequence[Any]) -> bool:
    condition, change = parts
    return not (condition.parameter and condition.parameter == change.parameter)


def _two_strings(parts: Sequence[Any], pen: Pen) -> Draft:
    change, relation = parts
    one, two = pen.pick(TWO_WORDS)
    said = relation.phrase(pen).replace("@1", change.one(pen, one)).replace("@2", change.one(pen, two))
    body = (f"left = {change.code(one)}", f"right = {change.code(two)}", f"return {relation.part.code}")
    returns = relation.part.returns.replace("@t", type_of(change.part.gives))
    return Draft((Parameter(one, "str", "word"), Parameter(two, "str", "word")), returns, said, body,
                 (*tags_of(relation, change), ("strings",)))  # fmt: skip


RELATIONS = (
    Choice("equal", "left == right", ("Return True if @1 equals @2.",), tags=("same", "equal"), returns="bool",
           more=("Check whether @1 equals @2.", "Tell whether @1 and @2 are equal.")),
    Choice("differ", "left != right", ("Return True if @1 differs from @2.",), tags=("different", "differ"),
           returns="bool", more=("Check whether @1 differs from @2.", "Tell whether @1 and @2 differ.")),
    Choice("before", "left < right", ("Return True if @1 is less than @2.",), tags=("before", "less"), returns="bool",
           more=("Check whether @1 is less than @2.", "Tell whether @1 is smaller than @2.")),
    Choice("both", "left + right", ("Return @1 plus @2.",), tags=("joined", "together"), returns="@t",
           more=("Add @2 to @1.", "Compute @1 plus @2.")),
    Choice("pair", "[left, right]", ("Return a list of @1 and @2.",), tags=("pair", "both"), returns="list[@t]",
           more=("List @1 and @2.", "Put @1 and @2 in a list.")),
    Choice("smaller", "min(left, right)", ("Return the smaller of @1 and @2.",), tags=("smaller", "lesser"),
           returns="@t", more=("Find the smaller of @1 and @2.", "Of @1 and @2, return the smaller.")),
    Choice("larger", "max(left, right)", ("Return the larger of @1 and @2.",), tags=("larger", "greater"),
           returns="@t", more=("Find the larger of @1 and @2.", "Of @1 and @2, return the larger.")),
)  # fmt: skip


def _formatting(parts: Sequence[Any], pen: Pen) -> Draft:
    shape, left, right = parts
    name, number = pen.pick(FORMATTED_WORD), pen.pick(FORMATTED_NUMBER)
    said_left = left.one(pen, name) if left else name
    said_right = right.one(pen, number) if right else number
    between = shape.phrase(pen)
    doc = pen.vary(
        f"Return a string of {said_left}, then {between}, then {said_right}.",
        f"Join {said_left}, {between} and {said_right} into one string.",
        f"Put {between} between {said_left} and {said_right}, in one string.",
    )
    lines = [f"left = {left.code(name)}"] if left else []
    lines += [f"right = {right.code(number)}"] if right else []
    first, second = "left" if left else name, "right" if right else number
    lines.append(f'return f"{{{first}}}{shape.fill("@k").strip(chr(34))}{{{second}}}"')
    return Draft((Parameter(name, "str", "word"), Parameter(number, "int", "int")), "str", doc, tuple(lines),
                 (("format", "label", "describe"), *tags_of(left, right)))  # fmt: skip


SEPARATORS = Choice("separator", "", ("@k",), ((": ",), ("=",), (" - ",), ("/",), (" x ",), (" is ",), (", ",)))


def _key_values(parts: Sequence[Any], pen: Pen) -> Draft:
    separator, condition, change, end = parts
    name = pen.pick(TEXTS)
    comma = separator.fill("@k")
    doc = pen.vary(
        f"Parse {name}, key=value parts separated by {comma} with integer values. ",
        f"Split {name} at each {comma} into key=value parts with integer values. ",
        f"Read the key=value parts of {name}, which {comma} separates; each value is an integer. ",
        f"In {name}, {comma} stands between key=value parts with integer values. ",
    )
    items = noun_phrase(condition, "values", "", pen)
    doc += say(end.phrase(pen), change.many(pen, items) if change else items)
    only = f" if {condition.code('v')}" if condition else ""
    element = change.code("v") if change else "v"
    body = (
        f'pairs = [part.split("=") for part in {name}.split({comma})]',
        "items = {k: int(v) for k, v in pairs}",
        "return " + end.part.code.replace("@e", element).replace("@i", only),
    )
    gives = type_of(change.part.gives) if change else "int"
    return Draft((Parameter(name, "str", "key_values"),), end.part.returns.replace("@t", gives), doc, body,
                 (("parse", "read"), *tags_of(end, condition, change)))  # fmt: skip


KEY_VALUE_SEPARATORS = Choice("comma", domain=((",",), (";",), (" ",), ("&",)))
KEY_VALUE_ENDS = (
    Choice("dict", "{k: @e for k, v in items.items()@i}", ("Return a dict with @n.",), tags=("dict",),
           returns="dict[str, @t]", more=("Put @n in a dict.",)),
    Choice("list", "[@e for v in items.values()@i]", ("Return a list of @n.",), tags=("values",), returns="list[@t]",
           more=("List @n.", "Collect @n in a list.")),
    Choice("sum", "sum(@e for v in items.values()@i)", ("Return the sum of @n.",), tags=("sum",), returns="@t",
           more=("Add up @n.", "Compute the total of @n.")),
)  # fmt: skip


def _key_values_allowed(parts: Sequence[Any]) -> bool:
    _, _, change, end = parts
    return not (end.name == "sum" and change is not None and change.gives != "int")


FIELDS = (
    Choice("year", "@d.year", ("the year",), tags=("year",)),
    Choice("month", "@d.month", ("the month",), tags=("month",)),
    Choice("day", "@d.day", ("the day of the month",), tags=("day",)),
    Choice("weekday", "@d.weekday()", ("the weekday (Monday is 0)",), tags=("weekday",)),
    Choice("yearday", "@d.timetuple().tm_yday", ("the day of the year",), tags=("yearday",)),
)
SHIFTS = (
    Choice("later", "@d + timedelta(days=@k)", ("@k days after @d",), ((2,), (3,), (5,), (7,), (10,), (30,)),
           ("later", "after")),
    Choice("earlier", "@d - timedelta(days=@k)", ("@k days before @d",), ((2,), (3,), (5,), (7,), (10,), (30,)),
           ("earlier", "before")),
)  # fmt: skip
NO_DATE_ENDS = ("positive", "negative", "nonzero", "abs", "negate", "cap", "floor", "binary", "hexadecimal",
                "one_digit",
                "two_digit", "cube", "above", "below", "at_least", "at_most", "between")  # fmt: skip
INT_PARTS: tuple[Any, ...] = (*INT_CONDITIONS, *INT_CHANGES)
DATE_ENDS = tuple(part for part in INT_PARTS if part.name not in NO_DATE_ENDS)


def _dates(parts: Sequence[Any], pen: Pen) -> Draft:
    shift, field, end = parts
    name = pen.pick(DAY)
    lines, target, where = [], name, name
    imports: tuple[str, ...] = ("from datetime import date",)
    if shift:
        lines.append(f"moved = {shift.fill(shift.part.code).replace('@d', name)}")
        where, target = f"the date {shift.phrase(pen).replace('@d', name)}", "moved"
        imports = ("from datetime import date, timedelta",)
    said = f"{field.part.phrases[0]} of {where}"
    value = field.part.code.replace("@d", target)
    tags = (*tags_of(field, shift), ("date",))
    if end is None:
        doc = pen.vary(f"Return {said}.", f"Find {said}.", f"Compute {said}.")
        returns, last = "int", f"return {value}"
    elif hasattr(end.part, "holds"):
        lines.append(f"value = {value}")
        doc, returns, last = f"Take {said}. Return True if it {end.holds(pen)}.", "bool", f"return {end.code('value')}"
        tags = (*tags, *tags_of(end))
    else:
        lines.append(f"value = {value}")
        doc = f"Take {said}. Return {end.one(pen, RESULT)}."
        returns, last = type_of(end.part.gives), f"return {end.code('value')}"
        tags = (*tags, *tags_of(end))
    return Draft((Parameter(name, "date", "date"),), returns, doc, (*lines, last), tags, imports)


def _holder(parts: Sequence[Any], pen: Pen) -> Draft:
    """A class that holds numbers and answers one question about them."""
    end, condition, change = parts
    name = pen.pick(INTS)
    items = noun_phrase(condition, name, "", pen)
    method = pen.choice(end.part.tags)
    said = say(end.phrase(pen), change.many(pen, items) if change else items)
    doc = f"Hold a list of {name}. The method {method} returns {said}."
    element = change.code("x") if change else "x"
    generator = f"{element} for x in self.{name}{f' if {condition.code(chr(120))}' if condition else ''}"
    gives = type_of(change.part.gives) if change else "int"
    body = (
        f"def __init__(self, {name}: list[int]) -> None:",
        f"    self.{name} = {name}",
        "",
        f"def {method}(self) -> {end.part.returns.replace('@t', gives)}:",
        "    return " + end.part.code.replace("@g", generator).replace("@h", f"[{generator}]"),
    )
    return Draft((Parameter(name, "list[int]", "ints"),), "", doc, body,
                 ((SINGULAR[name], *CLASS_TAGS), ("box", "bag", "holder", "basket", "store", "list", "set", "row",
                                                  "report", "view")),
                 signature="class @f:", call=f"@f(@a).{method}()", camel=True)  # fmt: skip


CLASS_TAGS = ("data", "number", "my", "plain", "simple", "new", "small")
HOLDER_ENDS = (
    Choice("sum", "sum(@g)", ("the sum of @n",), tags=("total", "add_up"), returns="int"),
    Choice("list", "[@g]", ("a list of @n",), tags=("chosen", "select"), returns="list[@t]"),
    Choice("largest", "max(@h, default=0)", ("the largest of @n, or 0 if there are none",), tags=("largest", "top"),
           returns="int"),
    Choice("sorted", "sorted(@g)", ("a sorted list of @n",), tags=("in_order", "ranked"), returns="list[@t]"),
    Choice("set", "{@g}", ("the set of @n",), tags=("unique", "distinct"), returns="set[@t]"),
)  # fmt: skip


def _holder_allowed(parts: Sequence[Any]) -> bool:
    end, condition, change = parts
    plain = condition is None and change is None
    return not plain and not (end.name in ("sum", "largest") and change is not None and change.gives != "int")


def _updater(parts: Sequence[Any], pen: Pen) -> Draft:
    """A class with one number that a method changes."""
    condition, yes, no = parts
    name = pen.pick(STATE)
    method = pen.choice(("update", "step", "move", "turn"))
    own = f"self.{name}"
    said_no = no.one(pen, name) if no else f"{name} unchanged"
    doc = (
        f"Hold a number, {name}. The method {method} sets it to {yes.one(pen, name)} if {name} {condition.holds(pen)}, "
        f"otherwise {'to ' + said_no if no else 'leaves it'}, and returns it."
    )
    body = [
        f"def __init__(self, {name}: int) -> None:",
        f"    self.{name} = {name}",
        "",
        f"def {method}(self) -> int:",
        f"    if {condition.code(own)}:",
        f"        {own} = {yes.code(own)}",
    ]
    if no:
        body += ["    else:", f"        {own} = {no.code(own)}"]
    body.append(f"    return {own}")
    return Draft((Parameter(name, "int", "int"),), "", doc, tuple(body),
                 (("counter", "meter", "dial", "machine", "tracker", "state"), yes.part.tags),
                 signature="class @f:", call=f"@f(@a).{method}()", camel=True)  # fmt: skip


FAMILIES: tuple[Family, ...] = (
    Family("strings", "changing a string step by step", 2.6, (STR_TO_STR, (None, *STR_CHANGES), (None, *STR_CHANGES)),
           stepping("str", WORD, "str", "word", "word"), steps_allowed, none_share=(0, 0, 0.75)),
    Family("string branches", "choosing what to do with a string", 2.0, (STR_CONDITIONS, STR_CHANGES, (None,
                                                                                                       *STR_CHANGES)),
           branching("str", WORD, "str", "word", "word"), branch_allowed, none_share=(0, 0, 0.3)),
    Family("validation", "checking a string", 2.2,
           (STR_CONDITIONS, STR_CONDITIONS, (Choice("and"), Choice("or")), (None, *STR_CONDITIONS)), _validation,
           _validation_allowed, none_share=(0, 0, 0, 0.75)),
    Family("substitution", "replacing characters", 1.8, (CHAR_CONDITIONS, (None, *CHAR_CONDITIONS), (MASKS,
                                                                                                     *CHAR_TO_CHAR)),
                                                                                                     _substitution,
           _substitution_allowed, none_share=(0, 0.5, 0)),
    Family("word substitution", "replacing words in a text", 1.6, (STR_CONDITIONS, STR_TO_STR), _word_substitution,
           _same_kind),
    Family("two strings", "comparing two strings", 1.6, (STR_CHANGES, RELATIONS), _two_strings),
    Family("formatting", "formatting with f-strings", 1.6, ((SEPARATORS,), (None, *STR_TO_STR), (None, *INT_CHANGES)),
           _formatting,
           lambda parts: not (parts[1] and parts[2] and parts[1].parameter and parts[2].parameter)),
    Family("key and value", "parsing key=value text", 1.2,
           ((KEY_VALUE_SEPARATORS,), (None, *INT_CONDITIONS), (None, *INT_CHANGES), KEY_VALUE_ENDS), _key_values,
           _key_values_allowed, none_share=(0, 0.3, 0.5, 0)),
    Family("calendar", "dates and days", 1.6, ((None, *SHIFTS), FIELDS, (None, *DATE_ENDS)), _dates),
    Family("holder classes", "classes that hold a list", 1.6, (HOLDER_ENDS, (None, *INT_CONDITIONS), (None,
                                                                                                      *INT_CHANGES)),
                                                                                                      _holder,
           _holder_allowed, parameter_share=0),
    Family("state classes", "classes with a changing state", 1.4, (INT_CONDITIONS, INT_TO_INT, (None, *INT_TO_INT)),
           _updater,
           branch_allowed, parameter_share=0),
)  # fmt: skip
