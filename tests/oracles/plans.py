"""One query, several plans: three nodes against one, and each optimisation off against on."""

from answers import difference, table
from differential import LOOSE, kind_of_query
from engines import Refused
from queries import Queries
from report import signature
from shrink import shrink

# Rules of the optimizer that a session may leave out (leader/src/plan/disabled_rules.rs); none changes an answer. (push_down_limit would: the
# engine leaves a sort out below a limit that it has not got.)
RULES = [
    "common_sub_expression_eliminate", "date_bounds", "eliminate_cross_join", "eliminate_duplicated_expr", "eliminate_filter", "eliminate_group_by_constant",
    "eliminate_join", "eliminate_limit", "eliminate_outer_join", "filter_in_scans", "filter_null_join_keys", "join_order",
    "one_match", "optimize_projections", "optimize_unions", "propagate_empty_relation", "push_down_filter",
    "segment_pruning", "short_way", "single_distinct_aggregation_to_group_by", "unions_to_filter",
]
SETTING = "slipher_disabled_rules"


class Plans:
    """One trial asks one query in two ways."""

    name = "plans"

    def __init__(self, slipher, one, report):
        self.slipher, self.one, self.report = slipher, one, report

    def trial(self, rng, world, seed):
        query = Queries(rng, world.tables).top()
        if self.one and rng.random() < 0.35:
            way = ("on one node", self.one, None)
        else:
            rules = ",".join(rng.sample(RULES, rng.choice([1, 1, 1, 2, 5])))
            way = (f"SET {SETTING} TO '{rules}'", self.slipher, rules)
        kind, words = self.judge(query, way)
        self.report.count("queries planned in two ways")
        if kind is None:
            return
        sql = query.tree.sql("slipher")
        where = "other rules" if way[2] else way[0]
        long_kind = f"{where}: {kind_of_query(kind, sql)}"
        if self.report.is_known(self.name, sql, kind, words) or not self.report.is_new(long_kind):
            return
        if query.ordered:
            query.tree.kind = None
        tree = shrink(query.tree, lambda tree: self.judge(query.with_tree(tree), way)[0] == kind)
        sql = tree.sql("slipher")
        if self.report.is_known(self.name, sql, kind, words) or self.report.is_printed(long_kind, f"{where}: {kind_of_query(kind, sql)}"):
            return
        self.print(query.with_tree(tree), way, world, seed, kind)

    def ask(self, engine, rules, sql):
        """Rows, or the error."""
        try:
            if rules:
                engine.run(f"SET {SETTING} TO '{rules}'")
            return engine.ask(sql)
        except Refused as error:
            return error
        finally:
            if rules:
                engine.run(f"RESET {SETTING}")

    def judge(self, query, way):
        sql = query.tree.sql("slipher")
        usual, other = self.ask(self.slipher, None, sql), self.ask(way[1], way[2], sql)
        errors = [answer for answer in (usual, other) if isinstance(answer, Refused)]
        if any(error.code == "57014" for error in errors):
            self.report.count("took Slipher too long")
            return None, ""
        if len(errors) == 2:
            return None, ""
        if errors:
            return f"only one way fails: {errors[0].code} {signature(errors[0].message)}", errors[0].message
        types = query.types
        width = len((usual or other or [()])[0])
        if width != len(types):
            types = [LOOSE] * width
        words = difference(usual, other, types, query.ordered)
        return ("wrong answer" if words else None), words or ""

    def print(self, query, way, world, seed, kind):
        sql = query.tree.sql("slipher")
        lines = [world.script(used=sql), "", sql + ";"]
        for title, answer in (("as usual", self.ask(self.slipher, None, sql)), (way[0], self.ask(way[1], way[2], sql))):
            lines += [title, f"    {answer}" if isinstance(answer, Refused) else table(answer)]
        self.report.finding(self.name, seed, kind, "\n".join(lines))
