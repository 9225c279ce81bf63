"""Statements nobody should write: mutated ones, deep ones, large ones. Each is answered or refused in good time; nothing is lost.

usage: bad_input.py HOST PORT USER PASSWORD [PATIENCE]

PATIENCE multiplies the seconds that a large statement may take: builds without optimisation need more.
"""

import os
import random
import re
import sys
import time

import engines
from queries import Queries
from report import Report
from tree import SLIPHER
from world import World

LARGE_MAX_SECONDS = 5
# A random statement may be a slow query; with the statement timeout of the engines module it must end by then.
SMALL_MAX_SECONDS = engines.STATEMENT_MAX_SECONDS + 10
STATEMENTS_PER_WORLD = 400
# A statement that takes so much longer than it may is given up, and its connection cut.
ROOM_SECONDS = 20
# What runs when nobody says how long: see run.py.
SECONDS = 15
SEED = 1
# Limits that a large statement may run into: too complex, too large, too many columns, out of memory, timed out.
LIMITS = re.compile("^(54|53|57014)")

WORDS = """SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET UNION ALL EXCEPT INTERSECT JOIN LEFT FULL ON USING WITH RECURSIVE AS CASE WHEN THEN
ELSE END AND OR NOT IN EXISTS BETWEEN LIKE IS NULL TRUE DISTINCT OVER PARTITION ROWS CAST INSERT INTO VALUES UPDATE SET DELETE MERGE MATCHED CREATE TABLE
DROP ALTER ADD COLUMN COPY VACUUM ANALYZE EXPLAIN BEGIN COMMIT ROLLBACK DECLARE CURSOR FETCH CLOSE GRANT SHOW PREPARE EXECUTE INTERVAL DATE TIMESTAMP ANY
SOME LATERAL TABLESAMPLE PIVOT UNPIVOT QUALIFY TOP ROLLUP CUBE GROUPING SETS FILTER WITHIN LISTAGG ARRAY ROW EXTRACT SUPER VARBYTE""".split()
SYMBOLS = ["(", ")", ",", ";", "*", "+", "-", "/", "%", "^", "||", "::", ".", "=", "<>", "~", "!~", "|/", "@", "#", "&", "<<", ">>", "[", "]", "{", "}",
           ":=", "=>", "$1", "$$", "?", "'", '"', "--", "/*", "*/", "\\", "1e999", "-0", "99999999999999999999999999999999999999999", "0x1F",
           "E'\\x'", "'\\'", "U&'\\0041'", "'é'", "'\u202e'", "'\U0001F600'", "ﬀ", "１", "' '", "''", "NULL", "'9999-99-99'", "'NaN'::float8",
           "interval '1 century'", "'infinity'::date", "1/0", "(SELECT 1)", "current_user", "generate_series(1, 3)", "random()", "repeat('x', 100000)"]


def mutated(rng, sql):
    """A statement with a few pieces missing, doubled, moved, or put in."""
    pieces = re.findall(r"\w+|\s+|[^\w\s]", sql)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        place = rng.randrange(len(pieces)) if pieces else 0
        choice = rng.randint(0, 6)
        if choice == 0:
            del pieces[place : place + rng.randint(1, 5)]
        elif choice == 1:
            pieces[place:place] = pieces[place : place + rng.randint(1, 8)]
        elif choice == 2:
            other = rng.randrange(len(pieces)) if pieces else 0
            pieces[place : place + 1] = pieces[other : other + 1]
        elif choice == 3:
            pieces.insert(place, f" {rng.choice(WORDS)} ")
        elif choice == 4:
            pieces.insert(place, f" {rng.choice(SYMBOLS)} ")
        elif choice == 5:
            pieces[place : place + 1] = [rng.choice(SYMBOLS)]
        else:
            pieces = pieces[:place]
    return "".join(pieces).replace("\0", "")


def noise(rng):
    """Words and symbols, and nothing meant by them."""
    return " ".join(rng.choice(WORDS if rng.random() < 0.5 else SYMBOLS) for _ in range(rng.randint(1, 40)))


def around(before, middle, after, times):
    return "SELECT " + before * times + middle + after * times


def large(columns_max=1600):
    """Large and deep statements: a name and the text, or several texts that run in order."""
    chain = lambda operator, count: "SELECT " + operator.join(["1"] * count)
    yield "10,000 parentheses", around("(", "1", ")", 10_000)
    yield "10,000 open parentheses", around("(", "", "", 10_000)
    yield "10,000 NOT", around("NOT ", "true", "", 10_000)
    yield "10,000 minus signs", around("- ", "1", "", 10_000)
    yield "10,000 CASE", around("CASE WHEN true THEN ", "1", " END", 10_000)
    yield "10,000 functions", around("abs(", "1", ")", 10_000)
    yield "10,000 casts", around("", "1", "::bigint", 10_000)
    yield "10,000 subqueries", "SELECT * FROM " + "(SELECT * FROM " * 10_000 + "t1" + ") AS x" * 10_000
    yield "10,000 scalar subqueries", around("(SELECT ", "1", ")", 10_000)
    yield "10,000 brackets", around("", "1", "[1]", 10_000)
    yield "10,000 open comments", "SELECT 1 " + "/*" * 10_000
    yield "10,000 joins", "SELECT 1 FROM t1" + " CROSS JOIN t1" * 10_000
    yield "10,000 CTEs in each other", "WITH a AS (" * 10_000 + "SELECT 1" + ") SELECT 1" * 10_000
    yield "10,000 set operations", "SELECT 1" + " UNION ALL SELECT 1" * 10_000
    yield "1,000 chained +", chain(" + ", 1000)
    yield "1,000 chained + over a column", "SELECT " + " + ".join(["id"] * 1000) + " FROM t1"
    yield "1,000 chained ||", "SELECT " + " || ".join(["'a'"] * 1000)
    yield "1,000 chained AND", "SELECT count(*) FROM t1 WHERE " + " AND ".join(f"id <> {number}" for number in range(1000))
    yield "1,000 chained OR", "SELECT count(*) FROM t1 WHERE " + " OR ".join(f"id = {number}" for number in range(1000))
    yield "1,000 chained * and -", "SELECT " + " - 1 * ".join(["1"] * 1000)
    yield "300 nested coalesce", around("coalesce(NULL, ", "1", ")", 300)
    yield "100 nested CASE over a column", "SELECT " + "CASE WHEN id = 1 THEN 1 ELSE " * 100 + "0" + " END" * 100 + " FROM t1"
    yield "50 nested replace over a column", "SELECT " + "replace(" * 50 + "id::varchar(20)" + ", '1', '2')" * 50 + " FROM t1"
    yield "an IN list of 100,000 numbers", f"SELECT count(*) FROM t1 WHERE id IN ({', '.join(map(str, range(100_000)))})"
    yield "an IN list of 100,000 strings", f"SELECT count(*) FROM t1 WHERE id::varchar(9) IN ({', '.join(map(repr, map(str, range(100_000))))})"
    yield "a literal of 16 MB", "SELECT length('" + "x" * 16_000_000 + "')"
    yield "a statement of 16 MB of blanks", "SELECT 1" + " " * 16_000_000
    yield "a comment of 16 MB", "SELECT /*" + "x" * 16_000_000 + "*/ 1"
    yield "17 MB", "SELECT '" + "x" * 17_000_000 + "'"
    names = [f"c{number}" for number in range(columns_max)]
    yield "1,600 columns", ["DROP TABLE IF EXISTS wide", f"CREATE TABLE wide ({', '.join(name + ' int' for name in names)})",
                            f"INSERT INTO wide VALUES ({', '.join(map(str, range(columns_max)))})", "SELECT * FROM wide",
                            f"SELECT {', '.join(f'sum({name})' for name in names)} FROM wide", "DROP TABLE wide"]
    yield "1,601 columns", [f"CREATE TABLE wider ({', '.join(name + ' int' for name in [*names, 'one_more'])})", "DROP TABLE IF EXISTS wider"]
    yield "20,000 output columns", "SELECT " + ", ".join(["1"] * 20_000)
    yield "1,600 output columns", "SELECT " + ", ".join(["1"] * columns_max)
    yield "200 tables joined", "SELECT count(*) FROM t1 a0" + "".join(f" JOIN t1 a{number} ON a0.id = a{number}.id" for number in range(1, 200))
    yield "INSERT of 20,000 rows", ["CREATE TABLE IF NOT EXISTS many (a int, b varchar(20))",
                                    "INSERT INTO many VALUES " + ", ".join(f"({number}, 'x')" for number in range(20_000)), "DROP TABLE many"]
    yield "a name of 100,000 letters", 'SELECT 1 AS "' + "x" * 100_000 + '"'
    yield "repeat of 300 MB", "SELECT length(repeat('x', 300000000))"


class BadInput:
    """Asks, and watches that the server stays."""

    def __init__(self, slipher, watcher, report, patience):
        self.slipher, self.watcher, self.report, self.patience = slipher, watcher, report, patience

    def ask(self, name, sql, limit, seed):
        """Runs one statement; finds what is wrong with how it ended."""
        began = time.monotonic()
        try:
            with self.slipher.within(limit + ROOM_SECONDS):
                self.slipher.run(sql)
            ended = "answered"
        except engines.Refused as error:
            ended = error.code
            if error.lost and time.monotonic() - began > limit:
                ended = "nothing"
            elif error.lost:
                self.finding(f"the connection was lost: {name}", sql, error.message, seed)
            elif error.code in (None, "XX000") or "panick" in error.message:
                self.finding(f"internal error ({error.code}): {name}: {error.message[:80]}", sql, error.message, seed)
        seconds = time.monotonic() - began
        if seconds > limit:
            self.finding(f"took more than {limit:.0f} s: {name}", sql, f"{seconds:.1f} s, then {ended}", seed)
        return ended, seconds

    def finding(self, kind, sql, words, seed):
        kind = re.sub(r"\d+", "N", kind) if kind.startswith("internal") else kind
        if self.report.is_new(kind) and not self.report.is_printed(kind, kind):
            self.report.finding("bad_input", seed, kind, f"{sql[:3000]}{' …' if len(sql) > 3000 else ''}\n{words[:1000]}")

    def healthy(self, seed):
        """Whether another session is still answered, by every node."""
        try:
            rows = self.watcher.ask("SELECT count(*) FROM t1")
            assert len(rows) == 1
        except engines.Refused as error:
            self.finding("another session is not answered", "SELECT count(*) FROM t1", str(error), seed)

    def large(self):
        for name, texts in large():
            texts = [texts] if isinstance(texts, str) else texts
            results = [self.ask(name, sql, LARGE_MAX_SECONDS * self.patience, 0) for sql in texts]
            self.report.count("large statements", len(texts))
            print(f"  {name}: " + ", ".join(f"{ended} in {seconds:.2f} s" for ended, seconds in results), flush=True)
            odd = [ended for ended, _ in results if ended not in ("answered", "lost", "nothing", "XX000", "0A000", "42601", "42703", "22001") and not LIMITS.match(ended or "")]
            if odd and name not in ("1,601 columns",):
                self.finding(f"{name}: {odd}", texts[0], "neither an answer nor a limit", 0)
            if name.startswith("10,000") and name not in ("10,000 open comments",) and not all(ended in ("54001", "54000", "54011", "0A000", "42601", "answered") for ended, _ in results):
                self.finding(f"{name} is not 54001: {[ended for ended, _ in results]}", texts[0][:200], "", 0)
            self.healthy(0)

    def small(self, rng, world, seed):
        if rng.random() < 0.2:
            sql = noise(rng)
        else:
            sql = mutated(rng, Queries(rng, world.tables).top().tree.sql(SLIPHER))
        if re.search(r"\b(drop|shutdown|terminate)\b", sql, re.I):
            # It would take the tables away that all others are asked of.
            return
        ended, _ = self.ask("a mutated statement", sql, SMALL_MAX_SECONDS, seed)
        self.report.count(f"mutated statements: {'answered' if ended == 'answered' else 'refused'}")
        self.report.count(f"  SQLSTATE {ended}" if ended != "answered" else "  answered")


def main():
    host, port, user, password = sys.argv[1:5]
    patience = float(sys.argv[5]) if len(sys.argv) > 5 else 1
    chosen = os.environ.get("SLIPHER_ORACLE_SECONDS")
    seconds = float(chosen) if chosen else SECONDS
    seed = int(os.environ.get("SLIPHER_ORACLE_SEED") or (random.SystemRandom().randrange(10**9) if chosen else SEED))
    print(f"bad input: SLIPHER_ORACLE_SEED={seed} SLIPHER_ORACLE_SECONDS={seconds:.0f}", flush=True)
    report = Report(seed)
    slipher, watcher = (engines.slipher("Slipher", host, port, password, user) for _ in range(2))
    bad = BadInput(slipher, watcher, report, patience)
    world_seed, world = seed, World(random.Random(seed), [slipher])
    if os.environ.get("SLIPHER_ORACLE_LARGE", "1") != "0":
        bad.large()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rng = random.Random(world_seed)
        if world_seed != seed:
            slipher.reset()
            world = World(rng, [slipher])
        for _ in range(STATEMENTS_PER_WORLD):
            if time.monotonic() > deadline:
                break
            bad.small(rng, world, world_seed)
        bad.healthy(world_seed)
        world_seed += 1
    report.count("trials of bad input", slipher.statements)
    good = report.summary()
    print("1 passed, 0 failed" if good else f"0 passed, {len(report.findings)} failed", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
