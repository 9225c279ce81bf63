"""The HTTP endpoint of a running Slipher, with Python's own HTTP client.

    python rest.py HOST PORT USER PASSWORD

Prints one line for each check and `N passed, M failed`; the exit code is 0 only when none failed.
"""

import base64
import http.client
import json
import re
import sys
import time

from checks import check, expect, run


class Target:
    """Where the server is, and as whom to ask."""

    def __init__(self, host, port, user, password):
        self.host, self.port, self.user, self.password = host, int(port), user, password

    def call(self, method, path, body=None, password=None, headers=None):
        """Answers (status, headers, body as JSON or text)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        credentials = base64.b64encode(f"{self.user}:{password or self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"} if headers is None else headers
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        is_json = response.getheader("content-type", "").startswith("application/json")
        answer = (response.status, response.headers, json.loads(text) if is_json else text)
        connection.close()
        return answer

    def run(self, sql, parameters=(), wait_seconds=20):
        """Submits a statement and waits for its end; answers its description."""
        body = {"sql": sql, "parameters": list(parameters), "wait_seconds": wait_seconds}
        status, _, answer = self.call("POST", "/v1/statements", body)
        assert status == 202, (status, answer)
        for _ in range(200):
            if answer["status"] != "STARTED":
                return answer
            time.sleep(0.05)
            _, _, answer = self.call("GET", f"/v1/statements/{answer['id']}")
        raise AssertionError(f"{sql} does not end: {answer}")

    def rows(self, sql, parameters=()):
        answer = self.run(sql, parameters)
        assert answer["status"] == "FINISHED", answer
        status, _, result = self.call("GET", f"/v1/statements/{answer['id']}/result")
        assert status == 200, result
        return result["rows"]


@check
def health(target):
    """health and readiness need no password"""
    expect(target.call("GET", "/healthz", headers={})[0], 200)
    expect(target.call("GET", "/readyz", headers={})[0], 200)
    expect(target.call("GET", "/nothing", headers={})[0], 404)


@check
def values(target):
    """values of every kind come as JSON"""
    sql = "SELECT 1, 1.50, 'a\"b', true, CAST(NULL AS int), DATE '2024-02-29', CAST(0.1 AS double precision)"
    expect(target.rows(sql), [[1, "1.50", 'a"b', True, None, "2024-02-29", 0.1]])
    expect(target.rows("SELECT $1::int + 1, $2::varchar", [41, "x"]), [[42, "x"]])
    expect(target.run("SELECT 1 AS one")["columns"][0]["name"], "one")


@check
def effects(target):
    """statements without rows tell their tag"""
    expect(target.run("CREATE TABLE http_t (a int)")["tag"], "CREATE TABLE")
    expect(target.run("INSERT INTO http_t VALUES (1), (2), (3)")["tag"], "INSERT 0 3")
    expect(target.rows("SELECT sum(a) FROM http_t"), [[6]])


@check
def pages(target):
    """a result is read page by page"""
    answer = target.run("SELECT a.a FROM http_t a, http_t b, http_t c ORDER BY 1")
    seen, offset = [], 0
    while offset is not None:
        _, _, page = target.call("GET", f"/v1/statements/{answer['id']}/result?offset={offset}&limit=10")
        expect(page["total_rows"], 27)
        seen += [row[0] for row in page["rows"]]
        offset = page["next_offset"]
    expect(seen, [1] * 9 + [2] * 9 + [3] * 9)


@check
def errors(target):
    """errors have their SQLSTATE, position and hint"""
    status, _, refused = target.call("POST", "/v1/statements", {"sql": "SELECT nope FROM http_t"})
    expect((status, refused["error"]["sqlstate"], refused["error"]["position"]), (400, "42703", 8))
    answer = target.run("SELECT 1 / (a - a) FROM http_t")
    expect((answer["status"], answer["error"]["sqlstate"]), ("FAILED", "22012"))
    status, _, refused = target.call("GET", f"/v1/statements/{answer['id']}/result")
    expect((status, refused["error"]["sqlstate"]), (400, "22012"))
    status, _, refused = target.call("POST", "/v1/statements", {"sql": "SELECT 1; SELECT 2"})
    expect((status, refused["error"]["sqlstate"]), (400, "42601"))
    status, _, refused = target.call("POST", "/v1/statements", {"sql": "SELECT $1::int"})
    expect((status, refused["error"]["sqlstate"]), (400, "42P02"))
    expect(target.call("POST", "/v1/statements", {"sql": "SELECT 1", "nonsense": 1})[0], 422)
    expect(target.call("GET", "/v1/statements/00000000-0000-4000-8000-000000000000")[0], 404)


@check
def credentials(target):
    """a wrong password, or none, is refused"""
    status, headers, refused = target.call("POST", "/v1/statements", {"sql": "SELECT 1"}, password="wrong")
    expect((status, refused["error"]["sqlstate"]), (401, "28P01"))
    assert headers["www-authenticate"].startswith("Basic"), headers
    expect(target.call("POST", "/v1/statements", {"sql": "SELECT 1"}, headers={})[0], 401)


@check
def cancelling(target):
    """a running statement is cancelled"""
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT sum(i) FROM n"
    _, _, answer = target.call("POST", "/v1/statements", {"sql": endless})
    expect(answer["status"], "STARTED")
    expect(target.call("GET", f"/v1/statements/{answer['id']}/result")[0], 400)
    target.call("DELETE", f"/v1/statements/{answer['id']}")
    for _ in range(100):
        _, _, answer = target.call("GET", f"/v1/statements/{answer['id']}")
        if answer["status"] == "ABORTED":
            break
        time.sleep(0.1)
    expect((answer["status"], answer["error"]["sqlstate"]), ("ABORTED", "57014"))
    # Ended: deleting forgets it.
    target.call("DELETE", f"/v1/statements/{answer['id']}")
    expect(target.call("GET", f"/v1/statements/{answer['id']}")[0], 404)


@check
def metrics(target):
    """metrics are Prometheus' and count what ran"""
    status, headers, text = target.call("GET", "/metrics", headers={})
    expect(status, 200)
    assert headers["content-type"].startswith("application/openmetrics-text"), headers

    def number(name):
        found = re.search(rf"^slipher_{re.escape(name)} ([0-9.e+]+)$", text, re.MULTILINE)
        assert found, f"{name} is not in\n{text}"
        return float(found.group(1))

    assert number('statements_total{kind="query",state="finished"}') >= 5
    assert number('statements_total{kind="query",state="failed"}') >= 1
    assert number('statements_total{kind="query",state="cancelled"}') >= 1
    expect(number("statements_running"), 0)
    expect(number("sessions"), 0)
    expect(number("compute_nodes_alive"), 3)
    expect(number("stored_rows"), 3)
    assert number('statement_seconds_count{kind="load"}') >= 1
    nodes = re.findall(r"^slipher_node_slices\{.*\} ([0-9]+)$", text, re.MULTILINE)
    expect((len(nodes), sum(map(int, nodes))), (3, 8))


@check
def cleaning(target):
    """the table is dropped"""
    expect(target.run("DROP TABLE http_t")["tag"], "DROP TABLE")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(run(Target(*sys.argv[1:])))
