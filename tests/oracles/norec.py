"""NoREC: as many rows pass a filter as there are rows whose condition, computed as a column, is true."""

from expressions import Expressions
from kinds import BOOL, INT
from queries import Queries, Subqueries
from relations import Relation
from tree import SLIPHER, Node


class NoRec(Relation):
    """The optimizer sees a filter on the one side, only a column on the other."""

    name = "norec"

    def trial(self, rng, world, seed):
        queries = Queries(rng, world.tables)
        source, columns, _, _ = queries.sources(1)
        condition = Expressions(rng, columns, subquery=Subqueries(queries, 1)).make(BOOL, 3)
        tree = Node(None, [source, "\0", condition])

        def sides(tree):
            text, condition = tree.sql(SLIPHER).split("\0")
            return [f"SELECT count(*) FROM {text} WHERE {condition}"], [f"SELECT {condition} FROM {text}"], [INT]

        self.check(tree, sides, world, seed, lambda rows, types: [(str(sum(row[0] == "t" for row in rows)),)])
