"""Count what survived, what did not, and how."""

from __future__ import annotations

from collections import Counter


class Tally:
    """The trials of one kind.

    Args:
        title: what was done, such as ``SIGKILL of a training``.
        survival: what a survivor has, such as ``final weights equal bits``.

    Attributes:
        trials: number of trials.
        failures: one line for each trial that did not survive.
        notes: further lines of the text.
    """

    def __init__(self, title: str, survival: str) -> None:
        self.title, self.survival = title, survival
        self.trials = 0
        self.failures: list[str] = []
        self.notes: list[str] = []
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, outcome: str, failure: str = '', count: int = 1) -> None:
        """Count trials.

        Args:
            kind: a row of the table.
            outcome: a column of the table.
            failure: what went wrong; empty for survivors.
            count: number of trials that ended like this.
        """
        self.trials += count
        self._outcomes[kind, outcome] += count
        self.failures += [failure] * count if failure else []

    @property
    def survived(self) -> int:
        """Number of trials without a failure."""
        return self.trials - len(self.failures)

    def text(self) -> str:
        """Return the count, the distribution as a Markdown table, and the failures."""
        kinds, outcomes = (list(dict.fromkeys(pair[place] for pair in sorted(self._outcomes))) for place in (0, 1))
        rows = [['', *outcomes], ['---', *('---:' for _ in outcomes)]]
        rows += [[kind, *(str(self._outcomes[kind, outcome]) for outcome in outcomes)] for kind in kinds]
        if len(kinds) > 1:
            total = [sum(self._outcomes[kind, outcome] for kind in kinds) for outcome in outcomes]
            rows.append(['together', *map(str, total)])
        table = [f'| {" | ".join(row)} |' for row in rows]
        head = f'{self.title}: {self.survived} of {self.trials} survived ({self.survival})'
        return '\n'.join([head, '', *table, *self.notes, *(f'FAILED: {line}' for line in self.failures), ''])
