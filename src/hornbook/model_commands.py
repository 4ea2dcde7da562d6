"""The commands on a trained model: write with it, hand it on, take one in. Everything heavy is imported inside."""

import glob
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hornbook.errors import UserError

if TYPE_CHECKING:
    from hornbook.recipe import PretrainedConfig

WORK = Path("work")
WorkDirectory = Annotated[Path, typer.Option("--work", help="Where steps and runs are kept.")]
Model = Annotated[str, typer.Argument(help="The directory of a trained model, or its name in the work directory.")]
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
PRECISIONS = ("float32", "float16", "bfloat16")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(generate)
    app.command()(export)
    app.command("import")(import_)


def generate(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="What to complete. Left out: a small session.")] = None,
    work: WorkDirectory = WORK,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: always the most probable token.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 1,
) -> None:
    """Stream a completion of a trained model."""
    from hornbook.model.generate import Sampling
    from hornbook.model.session import open_model, session
    from hornbook.terminal import printable

    directory = _model_directory(model, work)
    print(f"model: {directory}", file=sys.stderr)
    opened = open_model(directory)
    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    if prompt is None:
        session(opened, sampling)
        return
    for piece in opened.stream(prompt.encode("utf-8", "replace").decode(), sampling):
        print(printable(piece), end="", flush=True)
    print()


def export(
    model: Model,
    out: Annotated[Path, typer.Option("--out", help="The directory to write; it must not be there yet.")],
    work: WorkDirectory = WORK,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float16 or bfloat16.")] = "float32",
    max_shard_size: Annotated[str, typer.Option("--max-shard-size", help="Of one file of weights.")] = "5GB",
) -> None:
    """Write a trained model as others' tools read it: transformers' PhiForCausalLM, its tokenizer and a model card."""
    if dtype not in PRECISIONS:
        raise UserError(f"--dtype {dtype}: is none of {', '.join(PRECISIONS)}")
    shard_bytes = _bytes(max_shard_size)
    import torch

    from hornbook.model.pretrained import export_directory

    for path in export_directory(_model_directory(model, work), out, getattr(torch, dtype), shard_bytes):
        print(path)


def import_(
    source: Annotated[
        str, typer.Argument(help="A directory in the Hugging Face format, or a model of the hub.", metavar="DIR_OR_ID")
    ],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; it must not be there yet.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, tag or branch of a model of the hub. Left out: main.")
    ] = None,
) -> None:
    """Take in a phi that exists already, such as microsoft/phi-1_5, as a model of ours."""
    from hornbook.model.pretrained import import_directory

    described = import_directory(_pretrained(source, revision), out)
    shape = described.config
    print(f"{out}: {shape.layers} layers of {shape.hidden}, {shape.heads} heads, context {described.context}")


def model_source(model: str, work: Path, revision: str | None) -> "PretrainedConfig":
    """Where any model lies: a directory, a name in the work directory, or a model of the hub."""
    from hornbook.model.config_file import CONFIG
    from hornbook.model.source import HUB

    found = _pretrained(model, revision)
    if found.model.startswith(HUB) or (Path(model) / CONFIG).is_file():
        return found
    return _pretrained(str(_model_directory(model, work)), revision)


def _pretrained(source: str, revision: str | None) -> "PretrainedConfig":
    from hornbook.model.source import HUB, REPOSITORY
    from hornbook.recipe import PretrainedConfig

    if source.startswith(HUB) or (REPOSITORY.fullmatch(source) is not None and not Path(source).exists()):
        return PretrainedConfig(model=HUB + source.removeprefix(HUB), revision=revision or "main")
    return PretrainedConfig(model=source, revision=revision)


def _model_directory(model: str, work: Path) -> Path:
    """A directory as given, or the newest finished model of that name in the work directory."""
    if (Path(model) / "model.safetensors").is_file():
        return Path(model)
    found = [
        path.parent
        for path in work.glob(f"train.{glob.escape(model)}-*/manifest.json")
        if path.parent.suffix != ".partial"
    ]
    if not found:
        trained = sorted(
            {path.parent.name.split(".")[1].rsplit("-", 1)[0] for path in work.glob("train.*/manifest.json")}
        )
        known = f"the models in {work}: {', '.join(trained)}" if trained else f"{work} holds no trained model"
        raise UserError(f"{model}: neither a directory with model.safetensors nor a model's name; {known}")
    return max(found, key=lambda directory: (directory / "manifest.json").stat().st_mtime_ns)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+) ?([KMG]I?B)?", text.upper())
    if found is None or int(found[1]) == 0:
        raise UserError(f"--max-shard-size {text}: not a size such as 5GB or 500MB")
    return int(found[1]) * UNITS[found[2] or ""]
