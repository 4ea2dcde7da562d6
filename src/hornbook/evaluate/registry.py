"""The names of all tasks: the table of what an evaluation can measure."""

from collections.abc import Callable
from pathlib import Path

from hornbook.errors import UserError
from hornbook.evaluate.coding import DEFAULT, UNCONVENTIONAL, CodeTask, Unconventional
from hornbook.evaluate.gsm8k import GSM8KCode, GSM8KText
from hornbook.evaluate.harness import SETTINGS, HarnessTask
from hornbook.evaluate.probes import Adversarial, Emergence
from hornbook.evaluate.protocols import PROTOCOLS
from hornbook.evaluate.squad import Squad
from hornbook.evaluate.task import Task
from hornbook.evaluate.text import BitsPerByte
from hornbook.evaluate.toxigen import ToxiGen

ALL = "all"  # every task, code under the papers' protocol alone
EVERY_PROTOCOL = "protocols"  # every code task under every protocol


def task_makers(held_out: Path | None, text_bytes: int) -> dict[str, Callable[[], Task]]:
    """Every task by its name, in the order of the tables; nothing is loaded before one is called."""
    makers: dict[str, Callable[[], Task]] = {}
    for name in SETTINGS:
        makers[name] = lambda name=name: HarnessTask(name)  # type: ignore[misc]
    makers["squad"] = Squad
    for testset, protocols in PROTOCOLS.items():
        for protocol in protocols.values():
            name = testset if protocol.name == DEFAULT else f"{testset}:{protocol.name}"
            if testset != UNCONVENTIONAL:
                makers[name] = lambda testset=testset, protocol=protocol: CodeTask(testset, protocol)  # type: ignore[misc]
    makers |= {"gsm8k_code": GSM8KCode, "gsm8k_text": GSM8KText}
    makers |= {UNCONVENTIONAL: Unconventional, "emergence": Emergence, "toxigen": ToxiGen, "adversarial": Adversarial}
    makers["bits"] = lambda: BitsPerByte(held_out, text_bytes)
    return makers


def tasks_named(names: str, held_out: Path | None, text_bytes: int) -> list[Task]:
    """The tasks that names, families (`common-sense`), `all` and `protocols` stand for, parted by commas; each once.

    Raises UserError for a name that is none.
    """
    tasks = {name: make() for name, make in task_makers(held_out, text_bytes).items()}
    families: dict[str, list[str]] = {ALL: [name for name in tasks if ":" not in name]}
    families[EVERY_PROTOCOL] = [name for name in tasks if name.partition(":")[0] in PROTOCOLS]
    for name, task in tasks.items():
        if ":" not in name:
            families.setdefault(task.family.replace(" ", "-"), []).append(name)
    wanted: list[str] = []
    for word in filter(None, (word.strip() for word in names.split(","))):
        if word not in tasks and word not in families:
            raise UserError(
                f"--tasks {word}: no such task; the tasks: {', '.join(tasks)}; several at once: {', '.join(families)}"
            )
        wanted += families.get(word, [word])
    if not wanted:
        raise UserError("--tasks: names no task")
    return [tasks[name] for name in dict.fromkeys(wanted)]
