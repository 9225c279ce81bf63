"""What the oracles without a reference share: queries whose answers must fit each other, all asked of Slipher."""

from answers import difference, table
from engines import Refused
from report import signature
from shrink import shrink
from tree import Absent


class Relation:
    """Two lists of queries whose answers, put together, are equal as bags.

    `sides(tree)` answers (left SQL, right SQL, types); both lists of texts. The tree is what may be made smaller.
    """

    name = "relation"

    def __init__(self, slipher, report):
        self.slipher, self.report = slipher, report

    def check(self, tree, sides, world, seed, combine=None):
        """Asks both sides; reports what does not fit. `combine(rows, types)` brings the right side's rows together."""
        kind, words = self.judge(tree, sides, combine)
        self.report.count(f"queries of {self.name}", sum(len(texts) for texts in sides(tree)[:2]))
        if kind is None:
            return
        sql = "\n".join(sides(tree)[0])
        if self.report.is_known(self.name, sql, kind, words) or not self.report.is_new(f"{self.name}: {kind}"):
            return
        tree = shrink(tree, lambda smaller: self.still(smaller, sides, combine, kind))
        smallest = "\n".join([text for texts in sides(tree)[:2] for text in texts])
        long_kind = f"{self.name}: {kind}"
        if self.report.is_known(self.name, smallest, kind, words) or self.report.is_printed(long_kind, long_kind):
            return
        self.print(tree, sides, combine, world, seed, kind)

    def still(self, tree, sides, combine, kind):
        try:
            return self.judge(tree, sides, combine)[0] == kind
        except Absent:
            return False

    def judge(self, tree, sides, combine):
        left, right, types = sides(tree)
        try:
            expected = [row for sql in left for row in self.slipher.ask(sql)]
            refused = None
        except Refused as error:
            expected, refused = [], error
        try:
            actual = [row for sql in right for row in self.slipher.ask(sql)]
        except Refused as error:
            return self.judge_refusals(refused, error)
        if refused:
            return self.judge_refusals(refused, None)
        if combine:
            actual = combine(actual, types)
        words = difference(expected, actual, types, False)
        return ("the answers do not fit", words) if words else (None, "")

    def judge_refusals(self, left, right):
        """What is not supported cannot be compared; all other statements are right as they are made."""
        errors = [error for error in (left, right) if error]
        for error in errors:
            if error.is_unsupported():
                self.report.refused(error)
                return None, ""
            if error.code in ("XX000", "lost") or error.code is None:
                return f"error {error.code} {signature(error.message)}", error.message
            if error.code == "57014":
                self.report.count("took Slipher too long")
                return None, ""
        if errors[0].code.startswith("22"):
            # Which rows an expression meets that fails for some is a plan's choice.
            self.report.count("data exceptions on one side")
            return None, ""
        sides = "both sides fail" if left and right else "only one side fails"
        return f"{sides}: {errors[0].code} {signature(errors[0].message)}", errors[0].message

    def print(self, tree, sides, combine, world, seed, kind):
        left, right, types = sides(tree)
        lines = [world.script(used="\n".join([*left, *right])), ""]
        for title, texts in (("-- the one side", left), ("-- the other side", right)):
            lines.append(title)
            for sql in texts:
                try:
                    rows = self.slipher.ask(sql)
                    lines += [sql + ";", table(rows)]
                except Refused as error:
                    lines += [sql + ";", f"    {error}"]
        lines.append(self.judge(tree, sides, combine)[1])
        self.report.finding(self.name, seed, kind, "\n".join(lines))
