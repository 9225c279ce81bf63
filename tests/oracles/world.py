"""A world: random tables that every engine holds alike."""

import re

from tables import SCHEMAS, make_tables
from tree import SLIPHER

NAMES = ["t", "t1", "t2", "t3", "ra.t", "rb.t", "ra.t1"]


class World:
    """The tables of one seed."""

    def __init__(self, rng, engines):
        self.tables, self.engines = make_tables(rng), engines
        for engine in engines:
            self.create(engine)

    def create(self, engine):
        for name in NAMES:
            schema = name.split(".")[0] if "." in name else None
            if schema:
                engine.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            engine.run(f"DROP TABLE IF EXISTS {name}")
        for table in self.tables:
            engine.run(table.definition(engine.dialect))
            for statement in table.inserts(engine.dialect, rows_per_statement=50 if len(table.rows) % 2 else 500):
                engine.run(statement)

    def used(self, sql):
        """Tables whose names stand in a text."""
        return [table for table in self.tables if re.search(rf"(?<![.\w]){re.escape(table.name)}\b", sql)]

    def script(self, used=None, tables=None):
        """Statements that make the tables for Slipher; only those whose name stands in the text `used`."""
        lines = [f"CREATE SCHEMA IF NOT EXISTS {schema};" for schema in SCHEMAS if used is None or f"{schema}." in used]
        for table in tables or (self.tables if used is None else self.used(used)):
            lines.append(table.definition(SLIPHER) + ";")
            lines += [statement + ";" for statement in table.inserts(SLIPHER)]
        return "\n".join(lines)


class Narrowed:
    """While it lasts, each engine sees tables with only some of their rows: in a block that is rolled back."""

    def __init__(self, engines, tables):
        self.engines, self.tables = engines, tables

    def __enter__(self):
        for engine in self.engines:
            engine.run("BEGIN")
            for table in self.tables:
                kept = ", ".join(str(row[0]) for row in table.rows)
                engine.run(f"DELETE FROM {table.name}" + (f" WHERE id NOT IN ({kept})" if kept else ""))

    def __exit__(self, *_):
        for engine in self.engines:
            engine.run("ROLLBACK")
