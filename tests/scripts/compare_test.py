#!/usr/bin/env python3
"""How bench/compare chooses, compares and ends its sides; peers are made up. Usage: compare_test.py BENCH"""

import array
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest
from pathlib import Path

BENCH = sys.argv.pop()
sys.path.insert(0, BENCH)

import compare
import compare_base
import compare_models
import compare_report


def flags(folder, **others):
    given = dict(out=folder / "compare.json", minutes=1, quick=False, threads=2, pairs=3, model=[],
                 work=[], peers=[], precision="fp32", data=None, train=None, base=None)  # fmt: skip
    return types.SimpleNamespace(**(given | others))


class FakeSide:
    """Takes `cost(threads, words)` seconds; writes `scores`, those of padded windows from `padded`."""

    def __init__(self, name, cost=None, scores=(), padded=None):
        self.name, self.cost, self.count, self.asked = name, cost, 2, []
        self.scores, self.padded = scores, scores if padded is None else padded

    def ask(self, what, *words):
        self.asked.append((what, *words))
        if what == "threads":
            self.count = words[0]
        if what == "logits":
            scores = self.padded if words[-1] == 384 else self.scores
            Path(words[0]).write_bytes(array.array("f", scores).tobytes())

    def seconds(self, *words):
        self.asked.append(words)
        return self.cost(self.count, words)


class Choices(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)

    def comparison(self, **others):
        made = compare.NativeComparison(flags(self.folder, **others), {})
        made.folder.mkdir()
        made.tell = lambda text: None
        return made

    def test_the_least_of_some_times_decides(self):
        times = {1: iter([1.2, 0.9, 1.0]), 8: iter([1.1, 1.3, 1.2]), 32: iter([2.0])}
        self.assertEqual(compare.fastest([1, 8, 32], lambda size: next(times[size])), 1)
        self.assertEqual(list(times[32]), [])  # clearly slower: asked once

    def test_turns_cover_all_lengths_and_hold_neighbours(self):
        self.assertEqual(compare.spread(12, 3), [2, 6, 10])
        self.assertEqual(compare.spread(3, 3), [0, 1, 2])
        lengths = compare_models.lengths("kInferenceLengths")
        self.assertEqual(lengths, sorted(lengths))
        turns = self.comparison().turns("bert-base")
        chosen = [compare_models.grouped(lengths, *turn) for turn in turns]
        self.assertEqual([len(turn) for turn in chosen], [64, 64, 63])
        self.assertEqual(chosen[0][:32], lengths[:32])
        self.assertEqual(compare_models.grouped(lengths, 0, 1), lengths)

    def test_batches_are_chosen_by_a_whole_turn(self):
        peer = FakeSide("torch", lambda count, words: {1: 3.0, 8: 2.0, 32: 2.1}[words[3]])
        self.assertEqual(self.comparison().best_batch(peer, 384, (2, 5)), 8)
        timed = [words for words in peer.asked if words[2] == 5]
        self.assertEqual([words[3] for words in timed], [1, 8, 32, 8, 32])
        self.assertEqual({words[1] for words in timed} | {words[4] for words in timed}, {2, 384})

    def test_threads_are_chosen_for_each_work(self):
        """One thread is better at single windows here, and two at batches."""
        cost = {("latency", 1): 1, ("latency", 2): 1.1, ("inference", 1): 1.9, ("inference", 2): 1}
        peer = FakeSide("openvino", lambda count, words: cost[words[0], count])
        made = self.comparison()
        for work, expected in (("inference", 2), ("latency", 1), ("inference", 2)):
            told = made.set_threads(peer, "minilm", work, "fp32", lambda: peer.seconds(work))
            self.assertEqual(int(told.split()[0]), expected)
            self.assertEqual(peer.count, expected)
        compiled = FakeSide("torch-compile", None)
        made.threads["torch", "minilm", "training", "fp32"] = 1
        self.assertEqual(made.set_threads(compiled, "minilm", "training", "fp32", None), "1 thread")

    def check(self, ours, theirs, precision="fp32", **others):
        made = self.comparison()
        other = FakeSide("torch", None, theirs, **others)
        for _ in range(2):
            made.check_logits("minilm", FakeSide("bertrand", None, ours), other, precision)
        self.assertEqual([words[-2:] for words in other.asked], [(1, 0), (4, 384)])

    def test_scores_are_compared_once(self):
        self.check([1.0, -2.0], [1.001, -2.0])
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            self.check([1.0, -2.0], [1.5, -2.0], "int8")

    def test_a_peer_whose_scores_differ_is_left_out(self):
        nan = float("nan")
        for number, (ours, theirs, others) in enumerate((
            ([1.0, 2.0], [1.0, 2.1], {}),
            ([1.0, 2.0], [1.0], {}),
            ([nan, 2.0], [1.0, 2.0], {}),
            ([1.0, 2.0], [1.0, nan], {}),
            ([1.0, 2.0], [1.0, 2.0], {"padded": [1.0, 1.9]}),
            ([1.0, 2.0], [1.0, -2.0], {"precision": "int8"}),
        )):  # fmt: skip
            self.folder = Path(self.temporary.name) / str(number)
            self.folder.mkdir()
            with self.assertRaises(compare_base.Failed):
                self.check(ours, theirs, **others)

    def test_what_fails_is_told_and_the_rest_goes_on(self):
        made = self.comparison(data=self.folder / "nowhere.json")
        made.try_to("ask", lambda: subprocess.run(["false"], check=True))
        made.try_to("f1", made.f1)
        self.assertEqual(len(made.missing), 2)
        self.assertIn("give --data", made.missing[1])

    def test_training_in_bf16_is_scored_against_f32(self):
        """A made-up program that trains to, and scores, what its precision says."""
        programs = self.folder / "bin"
        programs.mkdir()
        log = self.folder / "log"
        (programs / "bertrand").write_text(f"""#!{sys.executable}
import json, pathlib, sys
words = dict(zip(sys.argv[3::2], sys.argv[4::2])) if sys.argv[2] == "evaluate" else {{}}
print(*sys.argv[1:], file=open({str(log)!r}, "a"))
if sys.argv[2] == "train":
    made = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
    made.mkdir()
    (made / "precision").write_text(sys.argv[sys.argv.index("--precision") + 1])
else:
    assert words["--precision"] == "fp32", words
    of = pathlib.Path(words["--model"], "precision").read_text()
    print(json.dumps({{"f1": {{"bf16": 70.0, "fp32": 70.2}}[of]}}))
""")
        (programs / "bertrand").chmod(0o755)
        here = Path(__file__)
        made = self.comparison(bin=programs, data=here, train=here, base=self.folder)
        made.f1_bf16()
        row = made.rows[0]
        self.assertEqual((row["work"], row["precision"], row["floor"]), ("F1 after 20000 windows", "bf16", 1.0))
        self.assertEqual((row["bertrand"], round(row["other"], 6)), (70.0, 69.9))
        self.assertEqual(compare_report.verdict(row), "ok")
        trained = [line for line in log.read_text().splitlines() if " train " in f" {line} "]
        self.assertEqual(len(trained), 2)
        for line in trained:
            self.assertIn("--max-steps 625 --batch-size 32 ", line)
            self.assertIn("--seed 42 ", line)

    def test_with_amx_bf16_has_more_to_reach(self):
        self.assertEqual(compare_report.floor_of("minilm", "own bf16", "bf16"), 1.6)
        self.assertEqual(compare_report.floor_of("minilm", "own bf16, AMX", "bf16"), 3.0)


OBEDIENT = """
import json, os, sys
print(json.dumps({"pid": os.getpid()}), flush=True)
for line in sys.stdin:
    if line == "nonsense\\n": print("nonsense", flush=True)
    elif line == "end\\n": sys.exit(3)
    else: print("{}", flush=True)
"""
SIDE = [sys.executable, "-c", OBEDIENT]
# Holds two sides, of which it tells the first line, and waits.
HOLDER = f"""
import sys, time
sys.path.insert(0, {BENCH!r})
import compare_base
with compare_base.Side("one", {SIDE!r}) as one, compare_base.Side("other", {SIDE!r}) as other:
    print(one.process.pid, other.process.pid, flush=True)
    time.sleep(60)
"""


def lives(pid):
    """A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Sides(unittest.TestCase):
    def test_stand_still_between_lines(self):
        with compare_base.Side("one", SIDE) as side:
            side.ask("anything")
            for _ in range(500):
                state = Path(f"/proc/{side.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state == "T":
                    break
                time.sleep(0.01)
            self.assertEqual(state, "T")
        self.assertFalse(lives(side.process.pid))

    def test_one_that_ends_or_babbles_is_a_failure(self):
        for word, told in (("end", "code 3"), ("nonsense", "'nonsense'")):
            with self.assertRaisesRegex(compare_base.Failed, told):
                with compare_base.Side("one", SIDE) as side:
                    side.ask(word)
            self.assertFalse(lives(side.process.pid))

    def test_one_that_does_not_begin_is_not_left(self):
        with tempfile.TemporaryDirectory() as folder:
            babbles = f"import os, time; print(os.getpid(), file=open('{folder}/pid', 'w'), flush=True); " \
                      "print('hello', flush=True); time.sleep(60)"  # fmt: skip
            with self.assertRaisesRegex(compare_base.Failed, "'hello'"):
                compare_base.Side("one", [sys.executable, "-c", babbles])
            self.assertFalse(lives(int(Path(folder, "pid").read_text())))

    def test_none_is_left_where_the_program_is_killed(self):
        holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
        pids = [int(word) for word in holder.stdout.readline().split()]
        self.assertEqual(len(pids), 2)
        holder.kill()
        holder.wait()
        holder.stdout.close()
        for _ in range(500):
            if not any(map(lives, pids)):
                return
            time.sleep(0.01)
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGKILL)
        self.fail("a side is left")


if __name__ == "__main__":
    unittest.main()
