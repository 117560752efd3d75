"""The rows of bench/compare: what each must reach, and how they are printed."""

# What Bertrand aims at, at least: of the peer's time for ratios, of R for fractions.
FLOORS = {
    "minilm": {
        "inference": 0.80, "training": 0.72,
        "sorted": 1.5, "padded": 3.3, "latency": 1.5, "train": 2.2, "train-padded": 6.5,
        "own int8": 1.7,
    },
    "bert-base": {
        "inference": 0.88, "training": 0.82, "training-4": 0.68,
        "sorted": 1.35, "padded": 2.9, "latency": 1.3, "train": 1.5, "train-padded": 4.3,
        "memory": 1.5, "own int8": 2.2,
    },
}  # fmt: skip
# The same for both models.
FLOORS_INT8 = {"sorted": 2.5, "latency": 1.6}
FLOORS_ALL = {"scaling": 0.95, "own bf16": 1.6, "own bf16, AMX": 3.0}
# Through LibTorch on a GPU in bf16, of the time of transformers, compiled and not.
FLOORS_DEVICE = {"training": 1.5, "latency": 2.0, "inference": 2.0}
MOST_SPREAD = 1.5  # 99th percentile of latency by its median, at most
MOST_F1_LOST = 0.3  # in 8 bits, and by training in bf16


def floor_of(model, what, precision):
    """None where nothing is asked for."""
    if what in FLOORS_ALL:
        return FLOORS_ALL[what]
    if precision == "int8" and not what.startswith("own"):
        return FLOORS_INT8.get(what)
    if precision == "bf16" and not what.startswith("own"):
        return None
    return FLOORS[model].get(what)


def device_floor_of(what, precision):
    return FLOORS_DEVICE[what] if precision == "bf16" else None


def number(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 100 else f"{value:.1f}"


def verdict(row):
    """void: the fraction of an R at which something else held the processor back."""
    if row["floor"] is None:
        return ""
    if row.get("void"):
        return "void"
    return "ok" if row["ratio"] >= row["floor"] else "below"


def needs(row):
    """At which part of R Bertrand would reach the floor: what no product reaches, none can."""
    return "" if row.get("needs") is None else f"{row['needs']:.2f} R"


def line_of(row):
    floor = "" if row["floor"] is None else f"{row['floor']:.2f}"
    told = f"{verdict(row)}, it takes {needs(row)}" if needs(row) else verdict(row)
    return (f"{row['model']:<10}{row['work']:<30}{row['precision']:<6}{row['peer']:<33}"
            f"{number(row['bertrand']):>9}{number(row['other']):>9} {row['unit']:<8}"
            f"{row['ratio']:>6.2f}  {floor} {told}").rstrip()  # fmt: skip


def table(about, rows, missing):
    """Markdown, as docs/performance.md may hold it."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    place = f"{about['device']}; " if about.get("device") else ""
    lines = [f"{place}{about['processor']}, {about['threads']} threads, {about['date']}; {versions}."]
    if about["quick"]:
        lines.append("Little work was done (--quick): these figures mean little.")
    lines += ["", "| model | work | precision | against | Bertrand | other | ratio | floor | takes | |",
              "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        unit = row["unit"]
        floor = "" if row["floor"] is None else f"{row['floor']:.2f}"
        cells = [row["model"], row["work"], row["precision"], row["peer"],
                 f"{number(row['bertrand'])} {unit}".strip(), f"{number(row['other'])} {unit}".strip(),
                 f"{row['ratio']:.2f}", floor, needs(row), verdict(row)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    with_floor = [row for row in rows if row["floor"] is not None]
    reached = sum(verdict(row) == "ok" for row in with_floor)
    lines += ["", f"{reached} of {len(with_floor)} rows with a floor reach it."]
    lines += [f"Not measured: {what}." for what in missing]
    return "\n".join(lines)
