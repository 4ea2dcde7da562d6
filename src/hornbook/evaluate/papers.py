"""What the two papers print, to stand beside what was measured: only figures read there or agreed on by sources.

From the tables of phi-1 (Tables 1 and 2) and phi-1.5 (Tables 2 to 4); shares, not percent. The papers' protocols are
not all known (prompts, raw or normalised accuracy, shots of SQuAD), so a figure is a neighbour, not a target.
"""

NUMBERS = ("bits_per_byte", "safety score")  # metrics that are no percentage

PRINTED: dict[str, dict[str, float]] = {
    "winogrande": {"phi-1.5": 0.734, "phi-1.5-web": 0.740, "phi-1.5-web-only": 0.604},
    "arc_easy": {"phi-1.5": 0.756, "phi-1.5-web": 0.761, "phi-1.5-web-only": 0.666},
    "arc_challenge": {"phi-1.5": 0.444, "phi-1.5-web": 0.449, "phi-1.5-web-only": 0.329},
    "boolq": {"phi-1.5": 0.758, "phi-1.5-web": 0.728, "phi-1.5-web-only": 0.632},
    "social_iqa": {"phi-1.5": 0.526, "phi-1.5-web": 0.530, "phi-1.5-web-only": 0.414},
    "piqa": {"phi-1.5": 0.766, "phi-1.5-web": 0.770},
    "hellaswag": {"phi-1.5": 0.476, "phi-1.5-web": 0.484},
    "mmlu": {"phi-1.5": 0.376, "phi-1.5-web": 0.379},
    "openbookqa": {"phi-1.5": 0.372, "phi-1.5-web": 0.360},
    "squad": {"phi-1.5": 0.72, "phi-1.5-web": 0.74},
    "humaneval": {"phi-1": 0.506, "phi-1-small": 0.45, "phi-1.5": 0.341, "phi-1.5-web": 0.414},
    "mbpp": {"phi-1": 0.555, "phi-1.5": 0.377, "phi-1.5-web": 0.435},
    "gsm8k_code": {"phi-1.5": 0.402, "phi-1.5-web": 0.446},
    "understanding": {"phi-1": 0.52, "phi-1-small": 0.45},  # of the unconventional problems: GPT-4's grade
}


def printed(task: str) -> dict[str, float]:
    """The papers' figures for a task under any protocol (`humaneval:bigcode` is `humaneval`)."""
    return PRINTED.get(task.partition(":")[0], {})
