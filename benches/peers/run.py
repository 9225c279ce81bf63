"""TPC-H in Slipher and in five other systems, in one run. `python3 benches/peers/run.py --help` tells the options.

Makes its own virtual environment from requirements.txt, measures each system in processes of its own, compares every answer with
DuckDB's, and writes a section of docs/peers.md with a plot.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SYSTEMS = ["duckdb", "slipher1", "slipher2", "slipher4", "datafusion", "clickhouse", "spark", "postgres"]
REFERENCE = "duckdb"


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slipher", required=True, help="the release binary")
    parser.add_argument("--scale", default="1", help="scale factor; names the section")
    parser.add_argument("--parquet-dir", required=True, help="DIR/TABLE/*.parquet; generated with tpchgen-cli if it is missing")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated")
    parser.add_argument("--queries", default="1-22", help="such as 1-22 or 1,6,14")
    parser.add_argument("--runs", type=int, default=3, help="warm runs of each query; the best counts")
    parser.add_argument("--cold", type=int, default=1, help="0 leaves out the cold runs, each of which starts its system anew")
    parser.add_argument("--timeout", type=int, default=120, help="seconds for one query")
    parser.add_argument("--clients", type=int, default=1, help="0 leaves out the dashboard mix, the fetch and the idle connections")
    parser.add_argument("--client-seconds", type=int, default=20, help="length of each part of the dashboard mix")
    parser.add_argument("--fetch-rows", type=int, default=10_000_000)
    parser.add_argument("--idle", type=int, default=500, help="idle connections")
    parser.add_argument("--work", help="parent of the data directories; they are removed at the end")
    parser.add_argument("--venv", default=str(Path.home() / ".cache" / "slipher-peers-venv"))
    parser.add_argument("--json", help="also writes all figures here, without answers")
    parser.add_argument("--from-json", help="writes the report from such a file, measures nothing")
    parser.add_argument("--note", default="", help="a sentence for the report, such as what else ran on the machine")
    parser.add_argument("--out", default=str(HERE.parents[1] / "docs" / "peers.md"))
    return parser.parse_args()


def enter_venv(directory):
    """Runs this program again inside the environment, which is made at first use and when requirements.txt has changed."""
    python = Path(directory) / "bin" / "python"
    if Path(sys.prefix).resolve() == Path(directory).resolve():
        return
    wanted, stamp = (HERE / "requirements.txt").read_text(), Path(directory) / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])


def numbers(text):
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def generate(directory, scale):
    from common import TABLES

    for table in TABLES:
        target = Path(directory) / table
        if not target.exists():
            command = [str(Path(sys.prefix) / "bin" / "tpchgen-cli"), "parquet", "--scale-factor", scale]
            subprocess.run([*command, "--tables", table, "--output-dir", str(target)], check=True)


def compare(results, answers):
    """Notes what is wrong with each answer."""
    from check import difference

    reference = answers.get(REFERENCE, {})
    for result in results:
        known = {number: rows for number, rows in answers[result["system"]].items() if number in reference}
        differences = {number: difference(int(number), rows, reference[number]) for number, rows in known.items()}
        result["wrong"] = {number: text for number, text in differences.items() if text}
        result["compared"] = len(known)


def measure_all(chosen, work):
    """Measures what is asked for; the report is written anew after each system, so that an interrupted run leaves what it has."""
    import clients
    import measure

    data, answers = beginning(chosen), {}
    for name in chosen.systems.split(","):
        result = measure.measure(name, chosen, work)
        answers[name] = result.pop("answers")
        data["systems"].append(result)
        compare(data["systems"], answers)
        save(data, chosen)
    if chosen.clients:
        data["clients"] = clients.measure(chosen, work)
        save(data, chosen)


def beginning(chosen):
    from common import TABLES, directory_bytes, parquet_rows

    return {
        "scale": chosen.scale,
        "runs": chosen.runs,
        "timeout": chosen.timeout,
        "queries": chosen.queries,
        "tables": ["warm", "cold"] if chosen.cold else ["warm"],
        "note": chosen.note,
        "rows": {table: parquet_rows(chosen.parquet_dir, table) for table in TABLES},
        "parquet_bytes": directory_bytes(chosen.parquet_dir),
        "systems": [],
    }


def save(data, chosen):
    import report

    if chosen.json:
        Path(chosen.json).write_text(json.dumps(data, indent=1))
    report.write(data, Path(chosen.out))


def check_systems(chosen):
    systems = chosen.systems.split(",")
    unknown = set(systems) - set(SYSTEMS)
    if unknown:
        sys.exit(f"unknown systems: {', '.join(sorted(unknown))}; known are {', '.join(SYSTEMS)}")
    if REFERENCE not in systems:
        print(f"without {REFERENCE} no answer is checked", file=sys.stderr)


def main():
    chosen = options()
    check_systems(chosen)
    enter_venv(chosen.venv)
    if chosen.from_json:
        import report

        report.write(json.loads(Path(chosen.from_json).read_text()), Path(chosen.out))
        return
    chosen.queries = numbers(chosen.queries)
    chosen.parquet_dir = str(Path(chosen.parquet_dir).resolve())
    chosen.slipher = str(Path(chosen.slipher).resolve())
    generate(chosen.parquet_dir, chosen.scale)
    # So that a TERM, too, ends what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    work = tempfile.mkdtemp(prefix="peers-", dir=chosen.work)
    # PostgreSQL runs as a user of its own below this directory.
    os.chmod(work, 0o711)
    try:
        measure_all(chosen, work)
    finally:
        print(f"logs are kept in {work}", file=sys.stderr)


if __name__ == "__main__":
    main()
