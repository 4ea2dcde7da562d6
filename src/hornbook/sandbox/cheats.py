"""Programs that try to pass without being right: what `hornbook doctor` plants, and the tests too.

The task is to double a number. Each cheat would be believed by some grader that runs the tests in the candidate's own
process, or that believes what the candidate prints or returns.
"""

from hornbook.sandbox.programs import Program

TESTS = ("assert double(2) == 4", "assert double(-3) == -6 and isinstance(double(-3), int)")
CONTEXT = 'def double(x: int) -> int:\n    """Twice a number."""\n'

SOURCES = {
    "wrong": "def double(x): return x + 2\n",
    "prints passed": "print('passed', flush=True)\ndef double(x): return 0\n",
    "exits with status 0": "import sys\nsys.exit(0)\n",
    "leaves at once": "import os\nos._exit(0)\n",
    "leaves when called": "import os\ndef double(x): os._exit(0)\n",
    "raises SystemExit": "def double(x): raise SystemExit(0)\n",
    "equals everything": """
class Equal:
    def __eq__(self, other): return True
    def __and__(self, other): return self
    __class__ = int
def double(x): return Equal()
""",
    "an int that lies": """
class Liar(int):
    def __eq__(self, other): return True
    __ne__ = __hash__ = lambda self, *other: False
def double(x): return Liar(0)
""",
    "replaces isinstance and assert": """
import builtins
builtins.isinstance = lambda *args: True
builtins.AssertionError = type('Quiet', (Warning,), {})
def double(x): return None
""",
    "patches the tests in its memory": """
import gc, sys
def double(x):
    frame = sys._getframe()
    while frame:
        frame.f_globals.update(double=lambda x: 2 * x)
        frame = frame.f_back
    for found in gc.get_objects():
        if isinstance(found, dict) and 'tests' in found:
            found['tests'] = ()
    return 0
""",
    "answers before it is asked": """
import json, os
for verdict in ('ready',), ('done', 1, 4, []), ('done', 2, -6, []), ('done', 3, -6, []):
    text = json.dumps(verdict).encode()
    for fd in range(3, 8):
        try: os.write(fd, len(text).to_bytes(4, 'big') + text)
        except OSError: pass
os._exit(0)
""",
    "a function that equals everything": """
class Equal:
    def __eq__(self, other): return True
    def __call__(self, *args): return self
double = Equal()
""",
}
HONEST = Program("honest", "def double(x): return 2 * x\n", TESTS, CONTEXT, "double")
CHEATS = tuple(Program(name, source, TESTS, CONTEXT, "double") for name, source in SOURCES.items())
