"""Reads programs as JSON from standard input and writes their verdicts: what the tests run as another user."""

import json
import sys


def main() -> None:
    job = json.load(sys.stdin)
    sys.path.insert(0, job["source_root"])
    from hornbook.sandbox.execute import run_programs
    from hornbook.sandbox.probe import available
    from hornbook.sandbox.programs import Limits, Program

    probe = next(probe for probe in available() if probe.backend.name == job["backend"])
    if not probe.works:
        print(json.dumps({"skip": f"{job['backend']} does not work here: {probe.detail}"}))
        return
    programs = [Program(name, source, tuple(tests)) for name, source, tests in job["programs"]]
    limits = Limits(cpu_seconds=1.0, memory_mb=256, wall_seconds=job["wall"] or 15.0)
    verdicts = run_programs(programs, limits, 2, probe.backend)
    print(json.dumps({verdict.id: [verdict.outcome, verdict.detail] for verdict in verdicts}))


if __name__ == "__main__":
    main()
