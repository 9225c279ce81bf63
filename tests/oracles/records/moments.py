"""Dates, times, intervals."""

DATES = ["2024-02-29", "2023-12-31", "2024-01-01", "1999-06-15", "1900-03-01", "0001-01-01", "9999-12-31"]
STAMPS = ["2024-02-29 23:59:59.999999", "2023-12-31 00:00:00", "2024-01-01 12:34:56.5", "1969-12-31 23:59:59", "2000-07-04 01:02:03"]
PARTS = ["year", "month", "day", "quarter", "week", "dow", "doy", "hour", "minute", "second", "epoch", "century", "decade", "millennium", "millisecond", "microsecond", "isoyear", "isodow"]
UNITS = ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century", "millennium"]
PATTERNS = ["YYYY-MM-DD", "DD.MM.YY", "HH24:MI:SS", "HH12:MI AM", "Day", "DAY", "day", "Dy", "Month", "MONTH", "Mon", "MON", "Q", "WW", "IW", "IYYY", "DDD", "D", "J", "RM", "CC", "MS", "US",
            "SSSS", "FMMonth FMDD, YYYY", "FMDay", "\"Year:\" YYYY", "Y,YYY", "YYY", "Y", "DDth", "A.M.", "pm", "W", "ID", "IYY", "BC"]


def parts(file):
    for value in DATES:
        for part in PARTS:
            if part in ("hour", "minute", "second", "millisecond", "microsecond"):
                continue
            part = part if part not in ("isoyear", "isodow") else part
            file.case(f"SELECT date_part('{part}', '{value}'::date)")
        for part in ("year", "month", "day", "quarter", "week", "dow", "doy", "epoch"):
            file.case(f"SELECT extract({part} FROM '{value}'::date)")
        file.case(f"SELECT date_part_year('{value}'::date)", f"SELECT extract(year FROM '{value}'::date)::integer")
        file.case(f"SELECT last_day('{value}'::date)", f"SELECT (date_trunc('month', '{value}'::date::timestamp) + interval '1 month' - interval '1 day')::date")
    for value in STAMPS:
        for part in PARTS:
            file.case(f"SELECT date_part('{part}', '{value}'::timestamp)")
        for part in ("year", "month", "day", "hour", "minute", "epoch", "dow", "week", "quarter"):
            file.case(f"SELECT extract({part} FROM '{value}'::timestamp)")
        for unit in UNITS:
            file.case(f"SELECT date_trunc('{unit}', '{value}'::timestamp)")
        file.case(f"SELECT trunc('{value}'::timestamp)", f"SELECT '{value}'::date")
    for value in ("13:14:15.678", "00:00:00", "23:59:59"):
        for part in ("hour", "minute", "second", "epoch", "millisecond", "microsecond"):
            file.case(f"SELECT date_part('{part}', '{value}'::time)")
    for part in ("nothing", "years_", ""):
        file.case(f"SELECT date_part('{part}', '2024-01-01'::date)", error="22023")


def added(file):
    units = ["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century"]
    factor = {"quarter": ("month", 3), "decade": ("year", 10), "century": ("year", 100)}
    for value in STAMPS + [f"{date} 00:00:00" for date in DATES[:5]]:
        for unit in units:
            plain, times = factor.get(unit, (unit, 1))
            for amount in (1, -1, 13, 0, -100):
                file.case(f"SELECT dateadd({unit}, {amount}, '{value}'::timestamp)", f"SELECT '{value}'::timestamp + interval '1 {plain}' * {amount * times}")
    for value in DATES[:5]:
        for amount in (0, 1, -1, 31, 365, -400):
            file.case(f"SELECT '{value}'::date + {amount}")
            file.case(f"SELECT '{value}'::date - {amount}")
            file.case(f"SELECT dateadd(day, {amount}, '{value}'::date)", f"SELECT '{value}'::date::timestamp + interval '1 day' * {amount}")
        for other in DATES[:5]:
            file.case(f"SELECT '{value}'::date - '{other}'::date")
            for operator in ("=", "<", ">=", "<>"):
                file.case(f"SELECT '{value}'::date {operator} '{other}'::date")
            file.case(f"SELECT datediff(day, '{value}'::date, '{other}'::date)", f"SELECT '{other}'::date - '{value}'::date")
            file.case(f"SELECT datediff(year, '{value}'::date, '{other}'::date)", f"SELECT (extract(year FROM '{other}'::date) - extract(year FROM '{value}'::date))::bigint")
            months = f"(extract(year FROM '{{0}}'::date) * 12 + extract(month FROM '{{0}}'::date))"
            file.case(f"SELECT datediff(month, '{value}'::date, '{other}'::date)", f"SELECT ({months.format(other)} - {months.format(value)})::bigint")
            quarters = f"(extract(year FROM '{{0}}'::date) * 4 + extract(quarter FROM '{{0}}'::date))"
            file.case(f"SELECT datediff(quarter, '{value}'::date, '{other}'::date)", f"SELECT ({quarters.format(other)} - {quarters.format(value)})::bigint")
            file.case(f"SELECT date_cmp('{value}'::date, '{other}'::date)", f"SELECT CASE WHEN '{value}'::date > '{other}'::date THEN 1 WHEN '{value}'::date < '{other}'::date THEN -1 ELSE 0 END")
    for value in STAMPS:
        for other in STAMPS:
            for unit, seconds in (("second", 1), ("minute", 60), ("hour", 3600)):
                count = f"floor(extract(epoch FROM '{{0}}'::timestamp) / {seconds})"
                file.case(f"SELECT datediff({unit}, '{value}'::timestamp, '{other}'::timestamp)", f"SELECT ({count.format(other)} - {count.format(value)})::bigint")
            for operator in ("=", "<", ">="):
                file.case(f"SELECT '{value}'::timestamp {operator} '{other}'::timestamp")
            file.case(f"SELECT timestamp_cmp('{value}'::timestamp, '{other}'::timestamp)",
                      f"SELECT CASE WHEN '{value}'::timestamp > '{other}'::timestamp THEN 1 WHEN '{value}'::timestamp < '{other}'::timestamp THEN -1 ELSE 0 END")
        for interval in ("1 day", "2 hours", "-3 minutes", "1 month", "1 year 2 months 3 days", "90 minutes", "1.5 days", "1 week"):
            file.case(f"SELECT '{value}'::timestamp + interval '{interval}'")
            file.case(f"SELECT '{value}'::timestamp - interval '{interval}'")
    for value in DATES[:5]:
        for interval in ("1 day", "2 hours", "1 month", "-1 year", "36 hours"):
            file.case(f"SELECT '{value}'::date + interval '{interval}'")
            file.case(f"SELECT '{value}'::date - interval '{interval}'")


def written(file):
    for value in STAMPS:
        for pattern in PATTERNS:
            file.case(f"SELECT to_char('{value}'::timestamp, '{pattern}')")
    for text, pattern in (("2024-02-29", "YYYY-MM-DD"), ("29.02.2024", "DD.MM.YYYY"), ("20240229", "YYYYMMDD"), ("Feb 29, 2024", "Mon DD, YYYY"), ("29 FEBRUARY 2024", "DD MONTH YYYY"),
                          ("2024 060", "YYYY DDD"), ("24-02-29", "YY-MM-DD"), ("1/2/2003", "MM/DD/YYYY")):
        file.case(f"SELECT to_date('{text}', '{pattern}')")
        file.case(f"SELECT to_timestamp('{text}', '{pattern}')")
    for number in ("0", "1", "-1", "1234.5", "-1234.5", "0.05", "1000000", "NULL"):
        for pattern in ("999", "9999.99", "0000.00", "9,999,999.9", "S9999", "9999MI", "FM9999.0", "FM0000", "9999PR", "MI9999", "99.9", "L9999", "9G999D9"):
            file.case(f"SELECT to_char({number}::decimal(12,2), '{pattern}')")
    for text, pattern in (("12,345.67", "99,999.99"), ("-5", "S9"), ("0012", "9999"), ("1.5", "9.9"), ("5-", "9MI"), ("<7>", "9PR")):
        file.case(f"SELECT to_number('{text}', '{pattern}')")


def intervals(file):
    values = ["1 day", "1 month", "1 year 2 months", "25 hours", "90 minutes", "1 day 02:03:04", "-1 day", "0 seconds", "1.5 hours", "2 weeks"]
    for value in values:
        file.case(f"SELECT interval '{value}'")
        file.case(f"SELECT - interval '{value}'")
        file.case(f"SELECT interval '{value}' * 3")
        file.case(f"SELECT interval '{value}' / 2")
        file.case(f"SELECT interval '{value}' IS NULL")
        for other in values:
            file.case(f"SELECT interval '{value}' + interval '{other}'")
            for operator in ("=", "<", ">"):
                file.case(f"SELECT interval '{value}' {operator} interval '{other}'")
        for part in ("day", "hour", "minute", "epoch", "month", "year"):
            file.case(f"SELECT extract({part} FROM interval '{value}')")


FILES = {
    "date_parts.slt": ("Parts of dates and times.", parts),
    "date_arithmetic.slt": ("What is added to dates and times, and what lies between them.", added),
    "date_texts.slt": ("Dates, times and numbers written with patterns, and read.", written),
    "intervals.slt": ("Intervals.", intervals),
}
