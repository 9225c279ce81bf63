"""Writes a section of docs/peers.md from the figures of one run; the sections of other scales stay."""

import math
import re
import statistics

import plot
from rewrites import REWRITES

LABELS = {
    "slipher1": "Slipher, 1 node",
    "slipher2": "Slipher, 2 nodes",
    "slipher4": "Slipher, 4 nodes",
    "datafusion": "DataFusion",
    "duckdb": "DuckDB",
    "clickhouse": "ClickHouse (chdb)",
    "spark": "Spark",
    "postgres": "PostgreSQL",
}
BASE = "slipher2"
INTRODUCTION = """# Slipher and other systems

One command measures everything on this page and writes it anew; it makes its own Python environment, and the Parquet files if the
directory is empty:

```
cargo build --release
python3 benches/peers/run.py --slipher target/release/slipher --scale 1 --parquet-dir DIR
python3 benches/peers/run.py --slipher target/release/slipher --scale 10 --parquet-dir OTHER-DIR --timeout 600
```

It wants Python 3.11, Java 17 for Spark and a PostgreSQL server (`apt-get install postgresql`); `--systems duckdb,slipher2` leaves out the
others, `--cold 0` the cold runs (each starts its system anew), `--clients 0` the part after the queries. Scale 10 needs about 40 GB below
`--work`.

TPC-H from the same Parquet files in every system, each in processes of its own, one after the other
on the same machine (2 cores, 24 GiB); only ratios within one run mean something. "Cold" is the first query after the system was started,
a fresh start for each query, with the system's files dropped from the page cache (programs and libraries stay in it). "Warm" is the
best of the runs of one process that runs all queries. Times end when all rows are in the client; starting the system is not in them.
Every answer is compared with DuckDB's: text and dates exactly, numbers to 1e-6 (relative, or absolute below 1: Slipher and DataFusion
give averages of decimals with six digits after the point).

Peak memory is VmHWM of the process, or the largest sampled sum of PSS where a system is several processes (Spark, PostgreSQL).
Systems inside a Python process carry Python with them; chdb's figure also has the pages of its large library.
"""


def write(data, path):
    text = path.read_text() if path.exists() else INTRODUCTION
    image = path.with_name(f"peers-scale-{data['scale']}.svg")
    plot.draw(data, LABELS, image)
    name = f"scale {data['scale']}"
    body = f"<!-- {name} -->\n{section(data, image.name)}<!-- end of {name} -->\n"
    old = re.compile(rf"<!-- {re.escape(name)} -->\n.*?<!-- end of {re.escape(name)} -->\n", re.DOTALL)
    if old.search(text):
        text = old.sub(lambda _: body, text)
    else:
        text = text.rstrip("\n") + "\n\n" + body
    path.write_text(text)


def section(data, image):
    parts = [
        f"## Scale {data['scale']}",
        data["note"],
        f"![warm times by query]({image})",
        f"### Warm, best of {data['runs']} (ms)",
        times(data, "warm"),
        "### Cold (ms)" if "cold" in data["tables"] else "",
        times(data, "cold") if "cold" in data["tables"] else "",
        "`timeout`: no answer in " + f"{data['timeout']} s; `error` and `*` (an answer that differs) are explained below.",
        "### Load, memory, start",
        loads(data),
        "### Answers",
        answers(data),
        clients(data.get("clients")),
        "### How each system ran",
        bullets(how(s) for s in data["systems"]),
        rewrites(data),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def label(system):
    return LABELS[system["system"]]


def how(system):
    load = system.get("load_average")
    before = f" (load average before it started: {load:.1f})" if load is not None else ""
    return f"{label(system)} {system.get('version', '')}: {system.get('notes', '')}{before}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)


def cell(system, kind, number):
    key = str(number)
    problem = system["problems"].get(key)
    if problem:
        # An error in warm runs leaves what was measured before it unshown.
        return "timeout" if problem.startswith("no answer in") else "error"
    if key not in system[kind]:
        return "–"
    return f"{system[kind][key]:.0f}" + ("*" if key in system["wrong"] else "")


def times(data, kind):
    systems = data["systems"]
    rows = [[str(number), *(cell(s, kind, number) for s in systems)] for number in data["queries"]]
    everywhere = [n for n in data["queries"] if all(str(n) in s[kind] and str(n) not in s["problems"] for s in systems)]
    if everywhere:
        sums = [sum(s[kind][str(n)] for n in everywhere) for s in systems]
        rows.append([f"total of {len(everywhere)}", *(f"{value:.0f}" for value in sums)])
        base = next((s for s in systems if s["system"] == BASE), None)
        if base:
            means = [geometric(s[kind][str(n)] / base[kind][str(n)] for n in everywhere) for s in systems]
            rows.append([f"ratio to {LABELS[BASE]}, geometric mean", *(f"{value:.2f}" for value in means)])
    return table(["query", *(label(s) for s in systems)], rows)


def geometric(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def loads(data):
    head = ["", "lineitem, rows/s", "all tables, s", "stored, MB", "peak in the load, MiB", "peak in the queries, MiB", "start, s"]
    rows = [load_row(system, data) for system in data["systems"]]
    parquet = f"Parquet files: {data['parquet_bytes'] / 1e6:.0f} MB, lineitem {data['rows']['lineitem']:,} rows."
    more = "All tables include indexes and statistics where the system makes them at loading. A dash: reads the Parquet files in place."
    return table(head, rows) + f"\n\n{parquet} {more}"


def load_row(system, data):
    start = f"{statistics.median(system['start_seconds']):.2f}" if system.get("start_seconds") else "–"
    queries = f"{system['query_peak_mib']:.0f}" if "query_peak_mib" in system else "–"
    if system["in_place"] or "lineitem" not in system.get("load_seconds", {}):
        return [label(system), "–", "–", "–", "–", queries, start]
    seconds = system["load_seconds"]
    rate = data["rows"]["lineitem"] / seconds["lineitem"]
    whole = sum(seconds.values()) + system.get("finish_seconds", 0)
    stored = f"{system['stored_bytes'] / 1e6:.0f}"
    return [label(system), f"{rate:,.0f}", f"{whole:.1f}", stored, f"{system['load_peak_mib']:.0f}", queries, start]


def answers(data):
    lines = []
    for system in data["systems"]:
        right = system["compared"] - len(system["wrong"])
        equal = f"{right} of {len(data['queries'])} answers equal DuckDB's"
        lines.append(f"{label(system)}: " + ("the reference" if system["system"] == "duckdb" else equal))
        lines.extend(f"{label(system)}, query {number} differs: {text[:300]}" for number, text in system["wrong"].items())
        lines.extend(f"{label(system)}, query {number}: {text[:300]}" for number, text in system["problems"].items())
        if "failed" in system:
            lines.append(f"{label(system)} stopped: {system['failed']}")
    return bullets(line.replace("\n", " ") for line in lines)


def clients(data):
    if not data:
        return ""
    parts = [
        f"### Clients of Slipher\n\nA leader and {data['nodes']} compute nodes, each a process; clients in one Python process on the same "
        "machine, whose work is in the figures.",
        "Dashboard mix (revenue by month and segment, top customers, orders by status and day, the lines of one order, counts):",
        dashboard_table(data["dashboard"]),
        "Many rows: a fetch of six columns of lineitem, and lineitem with all its columns into a new table:",
        fetch_table(data["fetch"]),
        idle_line(data["idle"]),
    ]
    failed = [part for part in [*data["dashboard"], *data["fetch"], data["idle"]] if "failed" in part]
    if failed:
        parts.append(bullets(f"{part['what']} failed: {part['failed']}".replace("\n", " ") for part in failed))
    return "\n\n".join(part for part in parts if part)


def dashboard_table(parts):
    head = ["clients", "queries/s", "p50, ms", "p95, ms", "errors"]
    rows = [
        [str(p["clients"]), f"{p['per_second']:.1f}", number(p["p50_ms"]), number(p["p95_ms"]), str(p["errors"])]
        for p in parts
        if "failed" not in p
    ]
    kinds = [f"{name} {ms:.1f}" for name, ms in parts[0].get("kinds_ms", {}).items()]
    errors = [f"Median of each kind with one client, in ms: {', '.join(kinds)}"] if kinds else []
    errors += [f"{p['clients']} clients, first error: {p['first_error']}" for p in parts if p.get("first_error")]
    return table(head, rows) + "\n\n" + bullets(text.replace("\n", " ") for text in errors)


def number(value):
    return "–" if value is None else f"{value:.1f}"


def fetch_table(parts):
    head = ["way", "rows", "s", "rows/s", "first batch, s", "leader before, MiB", "leader at most, MiB"]
    rows = []
    for p in parts:
        if "failed" not in p:
            first = "–" if p["first_batch_seconds"] is None else f"{p['first_batch_seconds']:.2f}"
            memory = [f"{p['leader_before_mib']:.0f}", f"{p['leader_peak_mib']:.0f}"]
            rows.append([p["what"], f"{p['rows']:,}", f"{p['seconds']:.1f}", f"{p['rows'] / p['seconds']:,.0f}", first, *memory])
    return table(head, rows)


def idle_line(idle):
    if "failed" in idle:
        return ""
    each = (idle["after_mib"] - idle["before_mib"]) * 1024 / idle["connections"]
    return (
        f"{idle['connections']} idle PostgreSQL connections: the leader's resident memory goes from {idle['before_mib']:.0f} to "
        f"{idle['after_mib']:.0f} MiB, {each:.0f} KiB each."
    )


def rewrites(data):
    names = {system["system"] for system in data["systems"]}
    lines = [f"{LABELS[name]}, query {number}: {reason}" for (name, number), (reason, _, _) in REWRITES.items() if name in names]
    return "Rewritten queries:\n\n" + bullets(lines) if lines else "No query was rewritten for any system."
