"""What a run saw, and whether it was what should be seen."""

from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that should be so."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(slots=True)
class Report:
    """The outcome of a run."""

    scenario: str
    expectations: list[Expectation] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)

    def expect(self, name: str, ok: bool, detail: object = "") -> bool:
        """Note whether ``name`` held; ``detail`` says what was seen."""
        self.expectations.append(Expectation(name, bool(ok), str(detail)))
        return bool(ok)

    def trim(self, keep: int) -> None:
        """Forget the oldest of what held, beyond ``keep``; what failed stays."""
        held = [one for one in self.expectations if one.ok]
        gone = {id(one) for one in held[: max(0, len(held) - keep)]}
        self.expectations = [one for one in self.expectations if id(one) not in gone]

    @property
    def ok(self) -> bool:
        """Whether everything held, and anything was looked at."""
        return bool(self.expectations) and all(one.ok for one in self.expectations)

    def render(self) -> Table:
        """A table for the terminal."""
        title = f"{self.scenario}: {'passed' if self.ok else 'FAILED'}"
        table = Table(title=title, title_style="bold green" if self.ok else "bold red")
        table.add_column("")
        table.add_column("expectation")
        table.add_column("seen")
        for one in self.expectations:
            table.add_row("[green]✓[/]" if one.ok else "[red]✗[/]", one.name, one.detail)
        table.add_section()
        for name, value in self.numbers.items():
            table.add_row("", name, value)
        return table
