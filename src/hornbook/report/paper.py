"""The bars of phi-1's Figure 2.1 that can be vouched for, to stand beside ours.

"Textbooks Are All You Need", arXiv 2306.11644: Figure 2.1 and section 2.1, HumanEval pass@1 in percent. The figure's
third group (350M parameters, 26B tokens) is left out: its values could not be checked against the text.
"""

from collections.abc import Sequence

from hornbook.report.figures import Bar, BarGroup

PAPER_MODELS = ("A", "B", "C")
FIGURE_2_1 = (
    ("HumanEval, 350M", (12.19, 20.12, 45.0)),
    ("HumanEval, 1.3B", (17.0, 29.0, 50.6)),
)
PAPER_NOTE = (
    "phi-1, Figure 2.1 and section 2.1 (arXiv 2306.11644), HumanEval pass@1 of models of 350M and 1.3B parameters. A "
    "is raw code, B is CodeTextbook, C is B finetuned on CodeExercises. A at 350M is the value the paper gives for "
    "training until saturation (section 2.1); A at 1.3B (17) was read in summaries of the paper, the others in its "
    "text. The paper gives no intervals."
)


def paper_groups(models: Sequence[str]) -> tuple[BarGroup, ...]:
    """The paper's bars, in the order and the colours of the models of the same names, where B and C are among ours."""
    if not {"B", "C"} <= set(models) or not set(models) <= set(PAPER_MODELS):
        return ()
    return tuple(
        BarGroup(
            name,
            tuple(Bar(model, place, bars[PAPER_MODELS.index(model)]) for place, model in enumerate(models)),
        )
        for name, bars in FIGURE_2_1
    )
