"""Recipes as files: YAML 1.2 scalars, arms, overrides, and errors that name the field and the line."""

import copy
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hornbook.errors import UserError
from hornbook.recipe import ModelConfig, Recipe

Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2: `1e-3` is a number, and `on`, `off`, `yes`, `no` are text."""


_YAML = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == f"{_YAML}null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_YAML}bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(f"{_YAML}int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]{0,30})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_YAML}float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|^[-+]?[0-9]+[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
NO_FIELDS = ("by name", "language model", "by token", "by hour", "[key]")  # in pydantic's places, beside the kinds
SHORTHAND = ("preset", "depth")  # of a `model`: each stands for the whole shape
BEGINNINGS = ("scratch", "pretrained")  # of a model that starts from no model of the recipe
SECRETIVE = ("machine", "teacher")
FIELD = re.compile(r"`?([a-z_]+(?:\.[\w-]+)*)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of an arm: it names a directory


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A recipe as read, before an arm or an override is chosen."""

    path: Path
    fields: dict[str, Any]  # all but `arms`
    arms: dict[str, dict[str, Any]]  # arm → dotted field → value
    origins: dict[Location, str]  # of every key: `file:line`

    def resolve(self, arm: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe with an arm's fields changed, then the overrides (`key=value`).

        Raises UserError that names the file, the line and the field.
        """
        fields, origins = copy.deepcopy(self.fields), dict(self.origins)
        if arm is not None:
            if arm not in self.arms:
                known = ", ".join(self.arms) or "none"
                raise UserError(f"{self.path}: has no arm `{arm}`; its arms: {known}")
            for field, value in self.arms[arm].items():
                within = ("arms", arm, field)
                origin = _origin(self.origins, within, self.path)
                _change(fields, field, copy.deepcopy(value), f"{origin}: arms.{arm}")
                location = _location(field)
                origins = _without(origins, location) | {location: origin}
                for place, inner in self.origins.items():
                    if place[: len(within)] == within:
                        origins[location + place[len(within) :]] = inner
        for override in overrides:
            field, equals, text = override.partition("=")
            if not equals:
                raise UserError(f"--set {override}: write it as KEY=VALUE, for example --set filter.keep_share=0.2")
            _, value = _load(text, f"--set {field}")
            _change(fields, field, value, f"--set {override}")
            location = _location(field)
            origins = _without(origins, location) | {location: f"--set {override}"}
        return _validate(fields, origins, self.path)


def read_recipe(path: Path) -> RecipeFile:
    """Read a recipe file and check all its arms.

    Raises UserError for a file that is missing, is no YAML mapping, repeats a key, or has an arm that does not resolve.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); give the path of a recipe file") from error
    node, data = _load(text, str(path))
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}: a recipe is a YAML mapping of sections")
    origins: dict[Location, str] = {}
    _walk(node, (), origins, path)
    arms = data.pop("arms", None) or {}
    if not isinstance(arms, dict):
        raise UserError(f"{_origin(origins, ('arms',), path)}: arms: is a mapping of names to changed fields")
    for name, changes in arms.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            origin = _origin(origins, ("arms", str(name)), path)
            raise UserError(f"{origin}: arms: `{name}` is no name for an arm; use letters, digits, - and _")
        if not isinstance(changes, dict):
            origin = _origin(origins, ("arms", name), path)
            raise UserError(f"{origin}: arms.{name}: an arm is a mapping of dotted fields to values")
    recipe = RecipeFile(path, data, arms, origins)
    recipe.resolve()
    for name in arms:
        recipe.resolve(name)
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML that reads back as the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _load(text: str, origin: str) -> tuple[yaml.Node | None, Any]:
    """The nodes and the value of a YAML text.

    Raises UserError for what is no YAML, or has aliases: a recipe says everything once, where it stands.
    """
    try:
        for event in yaml.parse(text, _Loader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{origin}: a recipe has no aliases; write the value of `*{event.anchor}` out")
        return yaml.compose(text, _Loader), yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{origin}{line}: not valid YAML ({_first_line(error)})") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{origin}: not a recipe's YAML ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _walk(node: yaml.Node, at: Location, origins: dict[Location, str], path: Path) -> None:
    """Note the file and line of every key below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag != f"{_YAML}str":
                raise UserError(f"{path}:{key.start_mark.line + 1}: a key of a recipe is text; put it in quotes")
            place, origin = (*at, key.value), f"{path}:{key.start_mark.line + 1}"
            if place in origins:
                raise UserError(f"{origin}: {_dotted(place)} is given twice, first at {origins[place]}; keep one")
            origins[place] = origin
            _walk(value, place, origins, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            origins[(*at, index)] = f"{path}:{item.start_mark.line + 1}"
            _walk(item, (*at, index), origins, path)


def _location(field: str) -> Location:
    return tuple(int(part) if part.isascii() and part.isdecimal() else part for part in field.split("."))


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _without(origins: dict[Location, str], location: Location) -> dict[Location, str]:
    """The origins but those of a field and of all below it."""
    return {place: origin for place, origin in origins.items() if place[: len(location)] != location}


def _change(fields: dict[str, Any], field: str, value: Any, origin: str) -> None:
    """Set a dotted field that exists, or that its section may have; `model.preset` and `model.depth` set all of it."""
    *parents, last = _location(field)
    if parents == ["model"] and last in SHORTHAND:
        # Beside a shape written out, it would change nothing: what stands beside a named shape takes its place.
        fields["model"] = {last: value}
        return
    target: Any = fields
    for depth, part in enumerate(parents):
        if parents[0] == "machine" and isinstance(target, dict):  # all of it may be left out
            target = target.setdefault(part, {})
            continue
        try:
            target = target[part]
        except (KeyError, IndexError, TypeError):
            raise UserError(f"{origin}: the recipe has no field `{_dotted(tuple(parents[: depth + 1]))}`") from None
    if isinstance(target, dict):
        if last not in target and not _may_have(tuple(parents), str(last), target):
            raise UserError(f"{origin}: the recipe has no field `{field}`{_meant(str(last), list(target))}")
        target[last] = value
    elif isinstance(target, list) and isinstance(last, int) and last < len(target):
        target[last] = value
    else:
        raise UserError(f"{origin}: the recipe has no field `{field}`")


def _may_have(parents: Location, name: str, section: dict[str, Any]) -> bool:
    """Whether a field that a section of the file lacks is one that it may have."""
    if not parents:
        return name in Recipe.model_fields and not Recipe.model_fields[name].is_required()
    if parents == ("model",):  # a named shape stands for all fields, and each may be given beside it
        return name in ModelConfig.model_fields and not set(SHORTHAND).isdisjoint(section)
    return parents[0] == "machine" or parents == ("models",) or parents[-1] == "mixture"


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, [str(key) for key in known if key != name], 1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _validate(fields: dict[str, Any], origins: dict[Location, str], path: Path) -> Recipe:
    try:
        text = json.dumps(fields)
    except TypeError as error:
        raise UserError(f"{path}: holds a value that is neither text, number, list nor mapping ({error})") from error
    try:
        # JSON mode: a strict tuple takes a YAML list, and nothing else is converted.
        recipe = Recipe.model_validate_json(text)
    except ValidationError as error:
        # An unknown field is often the misspelt name of a missing one: it says more.
        errors = sorted(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
        location = _in_file(errors[0]["loc"], fields)
        more = f" ({len(errors) - 1} more after this one)" if len(errors) > 1 else ""
        # A fault between sections stands nowhere for pydantic, and its text begins with the field.
        begins = FIELD.match(str(errors[0]["msg"]).removeprefix("Value error, "))
        origin = _origin(origins, location or _location(begins[1] if begins else ""), path)
        place = f"{_dotted(location)}: " if location else ""  # a fault of the whole stands nowhere
        complaint = _complaint(errors[0], location)
        if location[: len(SECRETIVE)] == SECRETIVE:  # what is refused may hold a password or a key: it is not repeated
            origin, complaint = origin.partition("=")[0], str(errors[0]["msg"]).removeprefix("Value error, ")
        raise UserError(f"{origin}: {place}{complaint}{more}") from None
    for name, train in recipe.models.items():
        where = f"{_origin(origins, ('models', name, 'start'), path)}: models.{name}.start"
        if train.start not in (*BEGINNINGS, *recipe.models):
            raise UserError(f"{where}: `{train.start}` is neither `scratch`, `pretrained` nor a model of this recipe")
        seen, at = {name}, train.start
        while at not in BEGINNINGS:
            if at in seen or at not in recipe.models:
                raise UserError(f"{where}: the models start from each other in a circle; one must start from scratch")
            seen.add(at)
            at = recipe.models[at].start
    return recipe


def _in_file(location: Location, fields: Any) -> Location:
    """Pydantic's place of an error without the parts that name a member of a union: where the field stands."""
    place: list[str | int] = []
    at, tagged = fields, False
    for part in location:
        if part in NO_FIELDS:
            continue
        if isinstance(at, dict) and at.get("kind") == part and not tagged:  # a field may have the name of a kind
            tagged = True
            continue
        place.append(part)
        tagged = False
        if isinstance(at, dict):
            at = at.get(part)
        else:
            at = at[part] if isinstance(at, list) and isinstance(part, int) and part < len(at) else None
    return tuple(place)


def _origin(origins: dict[Location, str], location: Location, path: Path) -> str:
    """Where a field was given: the change on the command line below it if there is one, else the nearest above it."""
    for place, origin in origins.items():
        if place[: len(location)] == location and origin.startswith("--set"):
            return origin
    for end in range(len(location), 0, -1):
        if location[:end] in origins:
            return origins[location[:end]]
    return str(path)


def _complaint(found: Any, location: Location) -> str:
    if found["type"] == "extra_forbidden":
        return f"unknown field{_meant(str(location[-1]), _siblings(location[:-1]))}"
    if found["type"] == "missing":
        return "is missing; a recipe leaves nothing to a default"
    if found["type"] == "union_tag_invalid":
        what = "source" if "sources" in location else str(location[-1])
        return f"`{found['ctx']['tag']}` is no kind of {what}; the kinds: {found['ctx']['expected_tags']}"
    if found["type"] == "union_tag_not_found":
        return "`kind` is missing; a recipe leaves nothing to a default"
    message = str(found["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
    if isinstance(found["input"], dict):
        return message
    return f"{message}, not {json.dumps(found['input'], default=str, ensure_ascii=False)[:60]}"


def _siblings(location: Location) -> list[str]:
    """The names of the fields of the section at a location, those of each kind where there are several."""
    sections: list[type[BaseModel]] = [Recipe]
    hints: list[Any] = [Recipe]
    for part in location:
        fields = [section.model_fields[str(part)] for section in sections if str(part) in section.model_fields]
        if fields:
            hints = [field.annotation for field in fields]
        sections = [inner for hint in hints for inner in _flat(hint) if _is_section(inner)]
    names = [name for section in sections for name in section.model_fields]
    return [*names, *SHORTHAND] if ModelConfig in sections else names


def _is_section(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _flat(hint: Any) -> list[Any]:
    """A type and all types inside it."""
    return [hint, *(inner for argument in getattr(hint, "__args__", ()) for inner in _flat(argument))]
