// Runs of run_squad that are stopped, gone on with, begun again, or lose their reader.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_squad_fixture.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class RunSquadRuns : public RunSquad {
 protected:
  void wait_for_a_step() const {
    for (int i = 0; i < 3000; ++i) {
      if (program_.read("run/events.jsonl").find("\"step\",") != std::string::npos) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  /// With standard output into a pipe whose reader goes away when the run has begun.
  Outcome run_unread(const std::string& more) const {
    return program_.run(
        command(more) +
            "; echo $? >status) | sh -c 'read line; while [ ! -e run/events.jsonl ]; "
            "do sleep 0.01; done'",
        "(");
  }
};

TEST_F(RunSquadRuns, AVocabularyThatCannotBeCopiedIsToldBeforeTheFirstStep) {
  std::string line = command(kTrain + std::string("--max_steps 1 --output_dir run"));
  line.replace(line.find("vocab.txt"), 9, "/dev/stdin");
  const Outcome outcome = program_.run(line, "cat vocab.txt |");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err, HasSubstr("/dev/stdin: is not a regular file; give one"));
  EXPECT_FALSE(exists("run"));
}

TEST_F(RunSquadRuns, StopsAndGoesOn) {
  const std::string flags =
      kTrain + std::string("--num_train_epochs 100000 --max_steps 2000 --output_dir run ");
  EXPECT_EQ(run(flags + "--resume").status, 2);  // there is nothing to go on with
  const pid_t process = program_.start(command(flags));
  wait_for_a_step();
  ::kill(process, SIGTERM);
  EXPECT_EQ(program_.wait(process).status, 128 + SIGTERM);
  EXPECT_GT(json("run/snapshot/training.json").at("steps"), 0);
  EXPECT_FALSE(exists("run/pytorch_model.bin"));

  // The snapshot is not thrown away unasked.
  const std::string snapshot = program_.read("run/snapshot/training.json");
  const Outcome refused = run(flags);
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("--output_dir run: holds the snapshot of a run that was"),
                    HasSubstr("--resume"), HasSubstr("--overwrite")));
  EXPECT_EQ(program_.read("run/snapshot/training.json"), snapshot);
  EXPECT_EQ(summary("SEED").size(), 1U) << "nor the summary";

  // Begun on a card that drew its masks itself, say.
  const std::string key = R"("dropout_key": "example")";
  const size_t place = snapshot.find(key);
  ASSERT_NE(place, std::string::npos) << snapshot;
  program_.write("run/snapshot/training.json",
                 std::string(snapshot).replace(place, key.size(), R"("dropout_key": "device")"));
  const Outcome resumed = run(flags + "--resume");
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("begun with --dropout-key device and goes on with example"));
  EXPECT_EQ(json("run/run.json").at("steps"), 2000);
  EXPECT_EQ(json("run/run.json").at("dropout_key"), "example");
  EXPECT_TRUE(exists("run/pytorch_model.bin"));
  EXPECT_FALSE(exists("run/snapshot"));
  EXPECT_EQ(summary("SEED").size(), 2U) << "the first part is still told";
  const nlohmann::json figures = summary("e2e_train_time").at(0);
  const double windows = figures.at("e2e_train_time").get<double>() *
                         figures.at("training_sequences_per_second").get<double>();
  EXPECT_NEAR(windows, 4000, 1) << "of both parts";
}

TEST_F(RunSquadRuns, TwoAtOnceDoNotWriteToOneFolder) {
  const std::string flags =
      kTrain + std::string("--num_train_epochs 1000000 --log_freq 1 --output_dir run ");
  const pid_t process = program_.start(command(flags));
  wait_for_a_step();
  const size_t told = summary("step_loss").size();
  const Outcome second = run(flags);
  EXPECT_EQ(second.status, 2);
  EXPECT_THAT(second.err, HasSubstr("--output_dir run: another run writes to it now."));
  EXPECT_GE(summary("step_loss").size(), told);
  ::kill(process, SIGKILL);
  program_.wait(process);
}

TEST_F(RunSquadRuns, BeginsAnewOverAStoppedRunWhereItIsTold) {
  ASSERT_EQ(run(kTrain + std::string("--max_steps 1 --output_dir run")).status, 0);
  ASSERT_EQ(program_
                .run("train --model run --train data.json --out stopped --batch-size 2 "
                     "--max-query-length 8 --stop-after-steps 1")
                .status,
            0);
  const std::string flags = kTrain + std::string("--max_steps 1 --output_dir stopped ");
  EXPECT_EQ(run(flags).status, 2);
  EXPECT_EQ(run(flags + "--overwrite --resume").status, 2);
  const Outcome outcome = run(flags + "--overwrite");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(exists("stopped/snapshot"));
}

TEST_F(RunSquadRuns, ALineThatNobodyReadsDoesNotEndTheRun) {
  run_unread(kTrain + std::string(kPredict) +
             "--num_train_epochs 1000 --max_steps 300 --log_freq 1 --output_dir run");
  const std::string err = program_.read("err");
  EXPECT_EQ(program_.read("status"), "1\n") << err;  // what was to be told is lost
  EXPECT_THAT(err, HasSubstr("Standard output cannot be written (Broken pipe). The run goes on"));
  EXPECT_EQ(json("run/run.json").at("steps"), 300);
  EXPECT_TRUE(exists("run/pytorch_model.bin"));
  EXPECT_EQ(json("run/predictions.json").size(), 4U);
  EXPECT_EQ(summary("exact_match").size(), 1U);
}

TEST_F(RunSquadRuns, TrainsAgainFromItsOwnOutput) {
  const std::string once = kTrain + std::string("--max_steps 2 --learning_rate 0.01 ");
  ASSERT_EQ(run(once + "--output_dir run").status, 0);
  auto before = tensors_of(program_.path("run/pytorch_model.bin"));
  for (const char* weights : {"run/pytorch_model.bin", "run", "./run/../run/pytorch_model.bin"}) {
    const Outcome again = program_.run(
        "run_squad --device cpu --threads 1 --max_query_length 8 --json-summary s.json " + once +
        "--output_dir run --init_checkpoint " + weights);
    ASSERT_EQ(again.status, 0) << again.err;
    const auto after = tensors_of(program_.path("run/pytorch_model.bin"));
    EXPECT_FALSE(after == before) << weights;
    before = after;
  }
  // One that would lose its files is refused as ever.
  fs::create_directory(program_.path("run/first"));
  fs::copy(program_.path("run/pytorch_model.bin"), program_.path("run/first/pytorch_model.bin"));
  const Outcome inner =
      run(once + "--output_dir run --init_checkpoint run/first/pytorch_model.bin");
  EXPECT_EQ(inner.status, 2);
  EXPECT_THAT(inner.err, HasSubstr("--output_dir run: is where the model to begin from lies"));
}

TEST_F(RunSquadRuns, ErrorsNameTheFlagsItHas) {
  const Outcome length = run(kTrain + std::string("--output_dir run --max_seq_length 64"));
  EXPECT_EQ(length.status, 2);
  EXPECT_THAT(length.err, HasSubstr("--max_seq_length: 64 is more than the model's 48 positions"));
  const Outcome file = run(kTrain + std::string("--output_dir data.json"));
  EXPECT_EQ(file.status, 2);
  EXPECT_THAT(file.err, HasSubstr("--output_dir data.json: is not a folder"));
}

TEST_F(RunSquadRuns, ShortWindowsLeaveRoomForShortQuestions) {
  const Outcome outcome = program_.run(
      "run_squad --device cpu --init_checkpoint model.pt --json-summary s.json " +
      (kTrain + std::string(kPredict)) + "--max_steps 1 --max_seq_length 32 --output_dir run");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--max_seq_length 32 leaves room for questions of 28 tokens"));
  EXPECT_EQ(json("run/recipe.json").at("max_query_length"), 28);
  EXPECT_EQ(json("run/predictions.json").size(), 4U);
}

}  // namespace
}  // namespace bertrand::test
