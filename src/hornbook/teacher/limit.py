"""When a step has had too many replies of no use to go on paying for more."""

from collections import Counter

from hornbook.errors import UserError


def check_failures(failures: Counter[str], limit: float, total: int, rows: str) -> None:
    """Raises UserError as soon as `failures` (by reason) are more than the share `limit` of the `total` requests."""
    if failures.total() > limit * total:
        reasons = ", ".join(f"{reason} {number}" for reason, number in failures.most_common())
        raise UserError(
            f"{failures.total()} of {total} {rows} failed ({reasons}), more than the limit of {limit:.1%}; nothing "
            "further was asked. Mend the cause, or raise the failure limit"
        )
