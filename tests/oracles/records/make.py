"""Writes tests/slt/values: make.py SLIPHER-PORT PASSWORD POSTGRES-PORT POSTGRES-USER [FILE...]; what is not agreed on is in /tmp/records-FILE.open.

Read the list before you believe either side: where Redshift means something else, the case says what in its second form.
"""

import importlib
import sys

from writer import Engine, File

MODULES = ["texts", "arithmetic", "moments", "rows"]


# Of the cases that a file could have so many are kept: tests of all of them would take too long.
SHARES = {"strings": 0.45, "matching": 0.5, "integers": 0.45, "decimals": 0.55, "mixed_numbers": 0.35, "number_functions": 0.5, "casts": 0.7, "date_arithmetic": 0.5,
          "intervals": 0.6, "aggregates": 0.5, "framed_windows": 0.5, "truth": 0.7}


def main():
    port, password, postgres_port, user = sys.argv[1:5]
    wanted = sys.argv[5:]
    count = 0
    for module in MODULES:
        for name, (about, make) in importlib.import_module(module).FILES.items():
            if wanted and not any(part in name for part in wanted):
                continue
            slipher = Engine(host="127.0.0.1", port=port, user="admin", password=password, dbname="dev")
            reference = Engine(host="127.0.0.1", port=postgres_port, user=user, dbname="postgres")
            file = File(name, about, slipher, reference, SHARES.get(name.removesuffix(".slt"), 1.0))
            make(file)
            file.close()
            count += file.count
    print(f"{count} records")


if __name__ == "__main__":
    main()
