"""The model card of an exported model: what its run recorded, and nothing that was not."""

import json
import re
from pathlib import Path
from typing import Any

from hornbook.model.config_file import Described
from hornbook.model.shape import parameter_count
from hornbook.run.fingerprint import decode
from hornbook.run.manifest import MANIFEST, read_manifest

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- phi
- hornbook
---

# {name}

A decoder-only language model of {parameters:,} parameters, made with hornbook, in the format of transformers'
`PhiForCausalLM`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = (kind.from_pretrained({quoted}) for kind in (AutoModelForCausalLM, AutoTokenizer))
prompt = tokenizer("<|endoftext|>def add(a, b):", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64)[0]))
```

In training every document followed `<|endoftext|>`; a prompt does best behind it, and without white space at its end.

## Shape

{shape}

## Training

{training}
"""
UNKNOWN = "How it was trained is not recorded beside the model this was exported from."


def model_card(directory: Path, described: Described, name: str) -> str:
    """The card of the model in `directory`, in Markdown. What a step's manifest says is quoted where there is one."""
    shape = {
        "layers": described.config.layers,
        "hidden size": described.config.hidden,
        "heads": described.config.heads,
        "rotated share of a head": described.config.rotary_share,
        "context in tokens": described.context,
        "entries of the tokenizer": described.vocab_size,
        "rows of embedding and head": described.rows,
    }
    training = UNKNOWN
    if (directory / MANIFEST).is_file():
        manifest = read_manifest(directory)
        facts = {"step": manifest["step"], "identity": manifest["identity"], "ended": manifest["ended"]}
        training = _table(facts | manifest["facts"]) + "\n\n```json\n" + _plain(decode(manifest["config"])) + "\n```"
    names = {"name": re.sub(r"[^\w .-]", "_", name), "quoted": json.dumps(name)}  # it may hold markup
    parameters = parameter_count(described.config, described.vocab_size)
    return CARD.format(**names, parameters=parameters, shape=_table(shape), training=training)


def _table(rows: dict[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    for key, value in rows.items():
        text = f"{value:,}" if type(value) is int else value if isinstance(value, str) else json.dumps(value)
        lines.append(f"| {key} | {text} |".replace("\n", " "))
    return "\n".join(lines)


def _plain(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False).replace("```", "'''")
