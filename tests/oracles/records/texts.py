"""Functions of text."""

WORDS = ["''", "'a'", "'abc'", "'Hello, World'", "'äöü straße'", "'日本語テキスト'", "'  both  '", "'xxabcxx'", "'a-b-c'", "'tab\there'", "NULL::varchar(10)", "'MiXeD cAsE'",
         "'1234567890'"]
PATTERNS = ["a%", "%a", "%b%", "_", "__", "a_c", "%", "", "A%", "%\\\\%%", "abc", "%ä%", "日%", "_本%", "%-%"]
# Letters outside of ASCII have no case in the C locale, and Redshift's LENGTH leaves nothing out.
ASCII = [word for word in WORDS if word.isascii()]


def strings(file):
    for word in ASCII:
        for function in ("upper", "lower", "initcap"):
            file.case(f"SELECT {function}({word})")
    for word in WORDS:
        for function in ("length", "char_length", "octet_length", "reverse", "trim", "ltrim", "rtrim", "btrim", "md5", "ascii", "character_length"):
            file.case(f"SELECT {function}({word})")
        for function, other in (("len", "length"), ("textlen", "length"), ("sha1", None), ("func_sha1", None)):
            file.case(f"SELECT {function}({word})", f"SELECT {other}({word})" if other else f"SELECT encode(sha1({word}::bytea), 'hex')" if False else
                      f"SELECT encode(digest({word}::text, 'sha1'), 'hex')")
        for bits in (224, 256, 384, 512):
            file.case(f"SELECT sha2({word}, {bits})", f"SELECT encode(sha{bits}(convert_to({word}, 'UTF8')), 'hex')")
        for count in (0, 1, 3, 100):
            file.case(f"SELECT left({word}, {count})")
            file.case(f"SELECT right({word}, {count})")
            file.case(f"SELECT repeat({word}, {min(count, 5)})")
            file.case(f"SELECT replicate({word}, {min(count, 4)})", f"SELECT repeat({word}, {min(count, 4)})")
        for start, length in ((1, 2), (2, 3), (0, 2), (-1, 3), (3, 100), (50, 1), (2, 0)):
            file.case(f"SELECT substring({word}, {start}, {length})")
            file.case(f"SELECT substr({word}, {start}, {length})", f"SELECT substring({word}, {start}, {length})")
        for start in (1, 2, 0, 40):
            file.case(f"SELECT substring({word} FROM {start})")
        for length in (0, 2, 8, 14):
            for fill in ("'*'", "'xy'", "'é'"):
                file.case(f"SELECT lpad({word}, {length}, {fill})")
                file.case(f"SELECT rpad({word}, {length}, {fill})")
            file.case(f"SELECT lpad({word}, {length})")
            file.case(f"SELECT rpad({word}, {length})")
        for part in ("'b'", "'l'", "''", "'本'", "NULL", "'x'", "' '"):
            file.case(f"SELECT strpos({word}, {part})")
            file.case(f"SELECT position({part} IN {word})")
            file.case(f"SELECT charindex({part}, {word})", f"SELECT strpos({word}, {part})")
        for old, new in (("'l'", "'L'"), ("'x'", "''"), ("'abc'", "'z'"), ("''", "'q'"), ("' '", "'_'"), ("'本'", "'x'")):
            file.case(f"SELECT replace({word}, {old}, {new})")
        for old, new in (("'abc'", "'xyz'"), ("'abc'", "'x'"), ("'lo'", "''"), ("'ä'", "'ae'"), ("' '", "'_'")):
            file.case(f"SELECT translate({word}, {old}, {new})")
        for separator in ("'-'", "','", "' '", "'b'"):
            for index in (1, 2, 3, 4):
                file.case(f"SELECT split_part({word}, {separator}, {index})")
        for characters in ("'x'", "'ab'", "' '", "'xH'", "''"):
            for function in ("trim", "ltrim", "rtrim", "btrim"):
                if function != "trim":
                    file.case(f"SELECT {function}({word}, {characters})")
            for side in ("BOTH", "LEADING", "TRAILING"):
                file.case(f"SELECT trim({side} {characters} FROM {word})")
        for other in ("'!'", "''", "NULL", "5"):
            file.case(f"SELECT {word} || {other}")
        file.case(f"SELECT concat({word}, 'z')", f"SELECT {word} || 'z'")
        file.case(f"SELECT quote_literal({word})")
        file.case(f"SELECT quote_ident({word})")
    for number in (65, 97, 48, 228, 26085, 126):
        file.case(f"SELECT chr({number})")
    for number in (0, 1, 15, 255, 2147483647, -1):
        file.case(f"SELECT to_hex({number})")
    for index in (0, -1):
        file.case(f"SELECT split_part('a-b', '-', {index})", error="22023")


def matching(file):
    for word in WORDS:
        for pattern in PATTERNS:
            for operator in ("LIKE", "NOT LIKE"):
                file.case(f"SELECT {word} {operator} '{pattern}'", f"SELECT {word} {operator} E'{pattern}'" if "\\" in pattern else None)
        for pattern in ("a%", "%B%", "HELLO%", "_", "%WORLD", "mixed%", "%CASE"):
            file.case(f"SELECT {word} ILIKE '{pattern}'")
            file.case(f"SELECT {word} NOT ILIKE '{pattern}'")
        for pattern in ("%(b|d)%", "(a|b)%", "[a-c]+", "%[0-9]{3}%", "a_c", "abc|xyz", "_+", "%"):
            file.case(f"SELECT {word} SIMILAR TO '{pattern}'")
            file.case(f"SELECT {word} NOT SIMILAR TO '{pattern}'")
        for pattern in ("^a", "c$", "[0-9]+", "b.c", "^$", "l{2}", "(a|x)+b", "[[:space:]]", "[^a-z]"):
            for operator in ("~", "!~"):
                file.case(f"SELECT {word} {operator} '{pattern}'")
            file.case(f"SELECT regexp_count({word}, '{pattern}')", f"SELECT CASE WHEN {word} IS NULL THEN NULL ELSE (SELECT count(*) FROM regexp_matches({word}, '{pattern}', 'g')) END")
            file.case(f"SELECT regexp_replace({word}, '{pattern}', '#')", f"SELECT regexp_replace({word}, '{pattern}', '#', 'g')")
            file.case(f"SELECT regexp_substr({word}, '{pattern}')", f"SELECT CASE WHEN {word} IS NULL THEN NULL ELSE coalesce(substring({word}, '({pattern.replace('(a|x)', '(?:a|x)')})'), '') END")
            file.case(f"SELECT regexp_instr({word}, '{pattern}')", f"SELECT CASE WHEN {word} IS NULL THEN NULL ELSE regexp_instr({word}, '{pattern}') END")


FILES = {"strings.slt": ("Functions of text, each with values at its edges.", strings), "matching.slt": ("LIKE, SIMILAR TO and regular expressions.", matching)}
