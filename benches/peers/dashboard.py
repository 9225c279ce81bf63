"""A dashboard mix: a handful of parametrised queries, as a BI tool would send them, from many threads at once."""

import datetime
import random
import statistics
import threading
import time

import psycopg2
import slipher

SEGMENTS = ["AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY"]
STATUSES = ["F", "O", "P"]
FIRST_DAY, DAYS = datetime.date(1992, 1, 1), 2400

REVENUE_BY_MONTH = """
select extract(year from o_orderdate) as y, extract(month from o_orderdate) as m, sum(o_totalprice) as revenue
from orders join customer on c_custkey = o_custkey
where c_mktsegment = %s and o_orderdate >= %s and o_orderdate < %s
group by 1, 2 order by 1, 2"""
TOP_CUSTOMERS = """
select c_custkey, c_name, sum(o_totalprice) as spent
from orders join customer on c_custkey = o_custkey
where o_orderdate >= %s and o_orderdate < %s
group by c_custkey, c_name order by spent desc, c_custkey limit 10"""
ORDERS_BY_DAY = """
select o_orderdate, count(*) as n, sum(o_totalprice) as total
from orders where o_orderstatus = %s and o_orderdate >= %s and o_orderdate < %s
group by o_orderdate order by o_orderdate"""
ORDER_LINES = """
select l_linenumber, p_name, l_quantity, l_extendedprice, l_shipdate
from lineitem join part on p_partkey = l_partkey
where l_orderkey = %s order by l_linenumber"""
COUNT_ORDERS = "select count(*) from orders where o_orderdate >= %s"
NAMES = {
    REVENUE_BY_MONTH: "revenue by month",
    TOP_CUSTOMERS: "top customers",
    ORDERS_BY_DAY: "orders by day",
    ORDER_LINES: "lines of an order",
    COUNT_ORDERS: "count",
}


def days(chance, length):
    first = FIRST_DAY + datetime.timedelta(days=chance.randrange(DAYS - length))
    return first, first + datetime.timedelta(days=length)


def next_query(chance, orders):
    """A query of the mix with its parameters; details of one order are asked for most often."""
    kind = chance.randrange(10)
    if kind < 2:
        return REVENUE_BY_MONTH, (chance.choice(SEGMENTS), *days(chance, 365))
    if kind < 3:
        return TOP_CUSTOMERS, days(chance, 90)
    if kind < 5:
        return ORDERS_BY_DAY, (chance.choice(STATUSES), *days(chance, 30))
    if kind < 9:
        # Order keys use 8 of each 32 numbers.
        number = chance.randrange(orders)
        return ORDER_LINES, (number // 8 * 32 + number % 8 + 1,)
    return COUNT_ORDERS, (days(chance, 1)[0],)


class Client(threading.Thread):
    """One connection that asks without pause until the time is over."""

    def __init__(self, port, seed, orders, start, seconds):
        super().__init__(daemon=True)
        self.chance, self.orders = random.Random(seed), orders
        self.start_line, self.seconds = start, seconds
        self.connection = slipher.connect(port)
        self.times, self.errors = [], []

    def run(self):
        cursor = self.connection.cursor()
        self.start_line.wait()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            self.ask(cursor)
        self.connection.close()

    def ask(self, cursor):
        sql, parameters = next_query(self.chance, self.orders)
        started = time.perf_counter()
        try:
            cursor.execute(sql, parameters)
            cursor.fetchall()
            self.times.append((NAMES[sql], time.perf_counter() - started))
        except psycopg2.Error as error:
            self.errors.append(str(error).strip()[:200])
            # A refused query must not become a loop that only counts errors.
            time.sleep(0.1)


def measure(leader, count, seconds):
    """Queries per second, median and 95th percentile of `count` clients."""
    port = leader.ports["pg"]
    connection = slipher.connect(port)
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from orders")
        orders = cursor.fetchone()[0]
    connection.close()
    start = threading.Barrier(count + 1)
    clients = [Client(port, seed, orders, start, seconds) for seed in range(count)]
    for client in clients:
        client.start()
    start.wait()
    started = time.perf_counter()
    for client in clients:
        client.join()
    elapsed = time.perf_counter() - started
    return summary(clients, elapsed)


def summary(clients, elapsed):
    kinds = {}
    for name, seconds in (pair for client in clients for pair in client.times):
        kinds.setdefault(name, []).append(seconds)
    times = sorted(seconds for known in kinds.values() for seconds in known)
    errors = [text for client in clients for text in client.errors]
    at = lambda part: times[min(int(len(times) * part), len(times) - 1)] * 1000 if times else None
    return {
        "clients": len(clients),
        "per_second": len(times) / elapsed,
        "p50_ms": at(0.5),
        "p95_ms": at(0.95),
        "kinds_ms": {name: statistics.median(known) * 1000 for name, known in sorted(kinds.items())},
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
    }
