"""How a code problem is put to a model, and how its answer becomes a program: the field's ways, by name.

The same model scores differently under each, so a score is comparable only with scores of the same protocol. Each is
taken from the source named at it, and holds what that source fixes: the prompt, the stop strings, the room for an
answer. Decoding is greedy and the tests are those of our sandbox throughout, whatever the source does there.

| test set | `paper` | `openai` | `bigcode` | `evalplus` | `lm-eval` |
|---|---|---|---|---|---|
| humaneval | prompt, no white space at its end | as it is | stripped at both ends | stripped, one newline | as it is |
| mbpp, mbpp-sanitized | docstring, all asserts | – | docstring, first assert | the same | three solved examples |
| drill, unconventional | as humaneval | – | – | – | – |
"""

from collections.abc import Callable
from dataclasses import dataclass

from hornbook.errors import UserError
from hornbook.evaluate.code import STOPS, trim_prompt
from hornbook.records import Problem

END = "<|endoftext|>"  # of a model's text; its sources append the tokenizer's own word for it to their stops

CODEX_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
BIGCODE_HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```", "<file_sep>", END)
BIGCODE_MBPP_STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n<|/", "\n```", END)
EVALPLUS_STOPS = (END, "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")

# What lm_eval shows as solved: tasks 2 to 4 of MBPP, as MBPP's paper does. Text, code and asserts, spaces and CR LF.
EXAMPLES = (
    (
        "Write a function to find the similar elements from the given two tuple lists.",
        "def similar_elements(test_tup1, test_tup2):\r\n"
        "  res = tuple(set(test_tup1) & set(test_tup2))\r\n"
        "  return (res) ",
        (
            "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)",
            "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)",
            "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)",
        ),
    ),
    (
        "Write a python function to identify non-prime numbers.",
        "import math\r\n"
        "def is_not_prime(n):\r\n"
        "    result = False\r\n"
        "    for i in range(2,int(math.sqrt(n)) + 1):\r\n"
        "        if n % i == 0:\r\n"
        "            result = True\r\n"
        "    return result",
        (
            "assert is_not_prime(2) == False",
            "assert is_not_prime(10) == True",
            "assert is_not_prime(35) == True",
        ),
    ),
    (
        "Write a function to find the largest integers from a given list of numbers using heap queue algorithm.",
        "import heapq as hq\r\n"
        "def heap_queue_largest(nums,n):\r\n"
        "  largest_nums = hq.nlargest(n, nums)\r\n"
        "  return largest_nums",
        (
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)==[85, 75, 65, 58, 35]",
        ),
    ),
)
EXAMPLE_IDS = frozenset({"MBPP/2", "MBPP/3", "MBPP/4"})


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to ask, to cut and to put together."""

    name: str
    prompt: Callable[[Problem], str]
    stops: tuple[str, ...]  # the completion ends before the first of these, and at end-of-text
    max_new_tokens: int
    program: Callable[[str, str], str]  # from the prompt as it was asked and the completion as it was cut
    source: str
    solved: frozenset[str] = frozenset()  # problems whose answer stands in every prompt: they are not asked


def joined(prompt: str, completion: str) -> str:
    """The program is what the model was given and what it wrote."""
    return f"{prompt}{completion}\n"


def alone(prompt: str, completion: str) -> str:
    """The program is what the model wrote."""
    return f"{completion}\n"


def joined_without_tabs(prompt: str, completion: str) -> str:
    """As `joined`, each tab of the completion four spaces."""
    return joined(prompt, completion.replace("\t", "    "))


def split_mbpp(problem: Problem) -> tuple[str, tuple[str, ...]]:
    """The text of an MBPP problem and its asserts without the set-up code, both of which stand in its docstring."""
    for first in (0, 1):  # the set-up code is a test before the others
        asserts = problem.tests[first:]
        end = "\n".join(("", *asserts, '"""\n'))
        if problem.prompt.endswith(end):
            return problem.prompt.removeprefix('"""\n').removesuffix(end), asserts
    raise ValueError(f"{problem.task_id}: its prompt does not end in its tests")


def whole_prompt(problem: Problem) -> str:
    """As the problem has it."""
    return problem.prompt


def trimmed_prompt(problem: Problem) -> str:
    """Without white space at its end."""
    return trim_prompt(problem.prompt)


def stripped_prompt(problem: Problem) -> str:
    """Without white space at either end: 142 of HumanEval's begin with a newline."""
    return problem.prompt.strip()


def one_newline_prompt(problem: Problem) -> str:
    """Without white space at either end, and one newline; the import that problem 115 has in its function, above it."""
    inner = "    import math\n"
    prompt = "import math\n" + problem.prompt.replace(inner, "") if inner in problem.prompt else problem.prompt
    return prompt.strip() + "\n"


def first_assert_prompt(problem: Problem) -> str:
    """A docstring of the text and the first assert (InCoder's form)."""
    text, asserts = split_mbpp(problem)
    return f'"""\n{text}\n{asserts[0]}\n"""\n'


def first_assert_stripped_prompt(problem: Problem) -> str:
    """The same, without white space at either end, and one newline."""
    return first_assert_prompt(problem).strip() + "\n"


def examples_prompt(problem: Problem) -> str:
    """Three solved problems, then this one with its first three asserts."""
    solved = "".join(f"{_begin(text, asserts)}{code}\n[DONE]\n\n" for text, code, asserts in EXAMPLES)
    return solved + _begin(*split_mbpp(problem))


def _begin(text: str, asserts: tuple[str, ...]) -> str:
    asked = f"You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:"
    return "\n".join((asked, "", *asserts[:3], "[BEGIN]", ""))


PAPER = Protocol(
    "paper",
    trimmed_prompt,
    STOPS,
    512,
    joined,
    "phi-1, table 1, and phi-1.5, table 4: zero-shot pass@1. They name no prompt, no stop strings and no room for an "
    "answer: these are ours",
)
BIGCODE = "bigcode-project/bigcode-evaluation-harness@8fc5bae6479c4fbbb28c3f8b644f6a15b3f3b5bd"
EVALPLUS = "evalplus/evalplus@26d6d00bb1fd0fa37f39c99d5290da67891d1c5e"
LM_EVAL = "EleutherAI/lm-evaluation-harness@4e7e0d47f33bc71070c1d38394bafbb52b117163"

HUMANEVAL = (
    PAPER,
    Protocol(
        "openai",
        whole_prompt,
        CODEX_STOPS,
        512,
        joined,
        "openai/human-eval@6d43fb980f9fee3c892a914eda09951f772ad10d: README.md (the prompt), human_eval/execution.py "
        "(prompt and completion); the stop strings are those of Codex (arXiv 2107.03374, section 3.2). The room for an "
        "answer is in neither: ours",
    ),
    Protocol(
        "bigcode",
        stripped_prompt,
        BIGCODE_HUMANEVAL_STOPS,
        512,
        joined,
        f"{BIGCODE}: bigcode_eval/tasks/humaneval.py (`humaneval`); generation.py appends the tokenizer's end-of-text "
        "to the stops. Its 512 tokens (main.py) are those of prompt and answer together",
    ),
    Protocol(
        "evalplus",
        one_newline_prompt,
        (*EVALPLUS_STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert "),
        768,
        joined_without_tabs,
        f"{EVALPLUS}: evalplus/codegen.py, evalplus/provider/utility.py, base.py and hf.py (direct completion); what "
        "HumanEval+ changes in HumanEval's prompts is in tools/humaneval/fix_v018.py@"
        "3de226896daa67b54e2683eb6e5f6840ce66018a. Its sanitizer, which afterwards keeps only what the function needs, "
        "is not applied",
    ),
    Protocol(
        "lm-eval",
        whole_prompt,
        (*CODEX_STOPS, END),
        1024,
        joined,
        f"{LM_EVAL}: lm_eval/tasks/humaneval/humaneval.yaml and utils.py (version 1.0); the same in lm_eval 0.4.13",
    ),
)
MBPP = (
    Protocol(
        "paper",
        whole_prompt,
        BIGCODE_MBPP_STOPS,
        512,
        joined,
        "phi-1, table 1, and phi-1.5, table 4: zero-shot pass@1. They name no prompt, no stop strings and no room for "
        "an answer. The prompt is ours: a docstring of the text and all asserts, and the newline after it, since the "
        "function that follows starts a line; the stop strings are those of the bigcode harness",
    ),
    Protocol(
        "bigcode",
        first_assert_prompt,
        BIGCODE_MBPP_STOPS,
        512,
        joined,
        f"{BIGCODE}: bigcode_eval/tasks/mbpp.py, and for the sanitized set mbppplus.py, whose problems are a part of "
        "it. Its 512 tokens are those of prompt and answer together; it runs no set-up code",
    ),
    Protocol(
        "evalplus",
        first_assert_stripped_prompt,
        (*EVALPLUS_STOPS, '\n"""', "\nassert"),
        768,
        joined_without_tabs,
        f"{EVALPLUS}: evalplus/codegen.py, evalplus/provider/utility.py, base.py and hf.py (direct completion); the "
        "form of MBPP+'s prompts is in tools/mbpp/init_plus.py@3de226896daa67b54e2683eb6e5f6840ce66018a. MBPP+ has 378 "
        "of the sanitized problems, some with a mended text or assert; ours are the authors'. Its sanitizer is not "
        "applied",
    ),
    Protocol(
        "lm-eval",
        examples_prompt,
        ("[DONE]", END),
        256,
        alone,
        f"{LM_EVAL}: lm_eval/tasks/mbpp/mbpp.yaml and utils.py (version 1.0), for the sanitized set mbpp_plus.yaml, "
        "whose problems are a part of it; lm_eval/models/huggingface.py (256 tokens, end-of-text); the same in lm_eval "
        "0.4.13. It runs no set-up code",
        EXAMPLE_IDS,
    ),
)
PROTOCOLS = {
    testset: {protocol.name: protocol for protocol in protocols}
    for testset, protocols in {
        "humaneval": HUMANEVAL,
        "mbpp": MBPP,
        "mbpp-sanitized": MBPP,
        "drill": (PAPER,),
        "unconventional": (PAPER,),
    }.items()
}


def find_protocol(testset: str, name: str) -> Protocol:
    """The protocol of that name for a test set. Raises UserError where there is none."""
    known = PROTOCOLS.get(testset)
    if known is None:
        raise UserError(f"{testset}: no set of code problems; they are {', '.join(PROTOCOLS)}")
    if name not in known:
        raise UserError(f"{testset}:{name}: no protocol of {testset}; it has {', '.join(known)}")
    return known[name]
