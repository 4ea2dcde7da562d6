"""The names of all tasks: the table of what an evaluation can measure."""

from difflib import get_close_matches
from pathlib import Path

from hornbook.errors import UserError
from hornbook.evaluate.coding import CODE_TASKS, UNCONVENTIONAL
from hornbook.evaluate.gsm8k import GSM8KCode, GSM8KText
from hornbook.evaluate.harness import SETTINGS, HarnessTask
from hornbook.evaluate.probes import Adversarial, Emergence
from hornbook.evaluate.protocols import PROTOCOLS
from hornbook.evaluate.squad import SQUAD, Squad
from hornbook.evaluate.task import Task
from hornbook.evaluate.text import BitsPerByte
from hornbook.evaluate.toxigen import ToxiGen

ALL = "all"  # every task, code under the papers' protocol alone
EVERY_PROTOCOL = "protocols"  # every code task under every protocol


def all_tasks(held_out: Path | None, text_bytes: int) -> dict[str, Task]:
    """Every task by its name, in the order of the tables; none has loaded anything."""
    code = {name: task for name, task in CODE_TASKS.items() if task.family == "code"}
    others: list[Task] = [GSM8KCode(), GSM8KText(), CODE_TASKS[UNCONVENTIONAL], Emergence(), ToxiGen(), Adversarial()]
    choice = {name: HarnessTask(name) for name in SETTINGS}
    text = BitsPerByte(held_out, text_bytes)
    return {**choice, SQUAD: Squad(), **code, **{task.name: task for task in others}, text.name: text}


def tasks_named(names: str, held_out: Path | None, text_bytes: int) -> list[Task]:
    """The tasks that names, families (`common-sense`), `all` and `protocols` stand for, parted by commas; each once.

    Raises UserError for a name that is none.
    """
    tasks = all_tasks(held_out, text_bytes)
    families: dict[str, list[str]] = {ALL: [name for name in tasks if ":" not in name]}
    families[EVERY_PROTOCOL] = [name for name in tasks if name.partition(":")[0] in PROTOCOLS]
    for name, task in tasks.items():
        if ":" not in name:
            families.setdefault(task.family.replace(" ", "-"), []).append(name)
    wanted: list[str] = []
    for word in filter(None, (word.strip() for word in names.split(","))):
        if word not in tasks and word not in families:
            near = get_close_matches(word.lower().replace("-", "_"), tasks, 1, 0.5)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(
                f"--tasks {word}: no such task{meant}; the tasks: {', '.join(tasks)}; several at once: "
                f"{', '.join(families)}"
            )
        wanted += families.get(word, [word])
    if not wanted:
        raise UserError("--tasks: names no task")
    return [tasks[name] for name in dict.fromkeys(wanted)]
