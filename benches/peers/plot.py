"""The plot of docs/peers.md: warm time of each query by system, on a logarithmic axis."""

import matplotlib

matplotlib.use("svg")
# The same figures give the same file, and text stays text.
matplotlib.rcParams["svg.hashsalt"] = "slipher"
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot

COLORS = {
    "slipher1": "#7fb3e6",
    "slipher2": "#1f6fbf",
    "slipher4": "#0b3a66",
    "datafusion": "#c95f2e",
    "duckdb": "#e0b400",
    "clickhouse": "#3d8f3d",
    "spark": "#a0529e",
    "postgres": "#6b6b6b",
}
MARKS = {"slipher1": "^", "slipher2": "o", "slipher4": "v", "datafusion": "s", "duckdb": "D", "clickhouse": "P", "spark": "X", "postgres": "*"}


def draw(data, labels, path):
    figure, axes = pyplot.subplots(figsize=(11, 5))
    for index, system in enumerate(data["systems"]):
        name, known = system["system"], system["warm"]
        numbers = [number for number in data["queries"] if str(number) in known and str(number) not in system["problems"]]
        values = [known[str(number)] for number in numbers]
        # Side by side, so that no mark covers another.
        places = [number + (index - (len(data["systems"]) - 1) / 2) * 0.1 for number in numbers]
        axes.plot(places, values, MARKS[name], color=COLORS[name], label=labels[name], markersize=6, alpha=0.9)
    axes.set_yscale("log")
    axes.set_xticks(data["queries"])
    axes.set_xlabel("TPC-H query")
    axes.set_ylabel("ms, warm")
    axes.set_title(f"TPC-H scale {data['scale']}, warm, best of {data['runs']}")
    axes.grid(True, which="major", axis="both", alpha=0.25)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
