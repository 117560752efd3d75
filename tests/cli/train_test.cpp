#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "cli/small_data.h"
#include "predict/small_reader.h"

namespace {

namespace fs = std::filesystem;
using bertrand::test::kSmallData;
using bertrand::test::Outcome;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

class TrainCommand : public testing::Test {
 protected:
  TrainCommand() {
    bertrand::test::write_small_reader(program_.path("model"));
    program_.write("data.json", kSmallData);
  }

  static std::string command(const std::string& more) {
    return "train --model model --max-query-length 8 " + more;
  }

  Outcome train(const std::string& more, const std::string& before = "") const {
    return program_.run(command("--train data.json --batch-size 2 " + more), before);
  }

  bool exists(const std::string& name) const { return fs::exists(program_.path(name)); }
  Json json(const std::string& name) const { return Json::parse(program_.read(name)); }

  /// Starts a run of very many steps and waits for the first.
  pid_t start_long_run(const std::string& out, const std::string& more = "") const {
    fs::remove(program_.path(out + "/events.jsonl"));
    const pid_t process = program_.start(
        command("--train data.json --batch-size 2 --epochs 1000000 --out " + out + " " + more));
    for (int i = 0; i < 3000; ++i) {
      if (program_.read(out + "/events.jsonl").find("\"step\",") != std::string::npos) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return process;
  }

  /// The writing end of a named pipe as soon as somebody reads it; -1 where nobody does.
  int open_for_reader(const std::string& name) const {
    for (int i = 0; i < 3000; ++i) {
      const int end = ::open(program_.path(name).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
      if (end >= 0) return end;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return -1;
  }

  bertrand::test::Program program_;
};

TEST_F(TrainCommand, LeavesAModelThatAnswers) {
  const Outcome outcome = train("--dev data.json --out run --epochs 3 --seed 7 --threads 1");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const Json run = json("run/run.json");
  EXPECT_EQ(run.at("finished"), true);
  EXPECT_EQ(run.at("steps"), 6);
  EXPECT_EQ(run.at("threads"), 1);
  EXPECT_TRUE(run.at("f1").is_number());
  EXPECT_TRUE(run.at("libraries").contains("oneDNN"));
  EXPECT_TRUE(run.at("libraries").contains("Highway"));
  EXPECT_EQ(program_.run("ask --model run -q 'what?' -c mice").status, 0);
}

TEST_F(TrainCommand, APipeGetsALineNowAndThen) {
  const Outcome outcome = train("--out run --max-steps 3");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("step 1 of 3, loss "), HasSubstr(" windows/s, "),
                                 HasSubstr("step 3 of 3, loss "), Not(HasSubstr("step 2 of 3"))));
  EXPECT_THAT(outcome.err, Not(HasSubstr("\r")));
  const Outcome quiet = program_.run("--quiet " + command("--train data.json --out quiet2"));
  EXPECT_EQ(quiet.err, "");
}

TEST_F(TrainCommand, AutoIsAPrecisionOfTheRecipe) {
  const Outcome outcome = train("--out run --max-steps 2 --precision auto");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const std::string chosen = json("run/recipe.json").at("precision");
  EXPECT_THAT(chosen, testing::AnyOf("fp32", "bf16"));
  EXPECT_EQ(json("run/run.json").at("precision"), chosen);
  EXPECT_THAT(outcome.err, HasSubstr("Precision auto: " + chosen + " ("));
}

TEST_F(TrainCommand, EveryRecipeValueIsAFlag) {
  const Outcome outcome = program_.run(
      command("--train data.json --out run --max-steps 1 --recipe reference --learning-rate 1e-4 "
              "--batch-size 3 "
              "--weight-decay 0.02 --hidden-dropout 0 --order length_aware --keep-pooler false "
              "--clip none --limit 4 --weights-type f16"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const Json recipe = json("run/recipe.json");
  EXPECT_EQ(recipe.at("recipe"), "reference");
  EXPECT_EQ(recipe.at("optimizer"), "bert_adam");
  EXPECT_EQ(recipe.at("learning_rate"), 1e-4);
  EXPECT_EQ(recipe.at("batch_size"), 3);
  EXPECT_EQ(recipe.at("weight_decay"), 0.02);
  EXPECT_EQ(recipe.at("hidden_dropout"), 0.0);
  EXPECT_EQ(recipe.at("order"), "length_aware");
  EXPECT_EQ(recipe.at("keep_pooler"), false);
  EXPECT_EQ(recipe.at("clip"), "none");
  EXPECT_EQ(recipe.at("max_train_windows"), 4);
}

TEST_F(TrainCommand, StoppedAndResumedItWritesTheSameWeights) {
  EXPECT_EQ(train("--out whole --epochs 4 --threads 1").status, 0);
  const Outcome first = train("--out run --epochs 4 --threads 1 --stop-after-steps 3");
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("--resume"));
  EXPECT_FALSE(exists("run/model.safetensors"));
  const Outcome second = train("--out run --epochs 4 --threads 1 --resume");
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("whole/model.safetensors"));
  EXPECT_FALSE(exists("run/snapshot"));
}

TEST_F(TrainCommand, ResumeKeepsTheTypeOfTheWeights) {
  EXPECT_EQ(train("--out whole --epochs 2 --threads 1 --weights-type f16").status, 0);
  const std::string stopped = "--epochs 2 --threads 1 --weights-type f16 --stop-after-steps 2";
  EXPECT_EQ(train("--out run " + stopped).status, 0);
  EXPECT_EQ(train("--out run --epochs 2 --threads 1 --resume").status, 0);
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("whole/model.safetensors"));
  EXPECT_EQ(train("--out other " + stopped).status, 0);
  EXPECT_EQ(train("--out other --epochs 2 --threads 1 --resume --weights-type f32").status, 0);
  EXPECT_GT(program_.read("other/model.safetensors").size(),
            program_.read("whole/model.safetensors").size());
}

TEST_F(TrainCommand, ASnapshotThatIsNoneIsABadInput) {
  EXPECT_EQ(train("--out run --epochs 2 --stop-after-steps 2").status, 0);
  const std::string state = program_.read("run/snapshot/training.json");
  const auto refused = [&](const std::string& text) {
    program_.write("run/snapshot/training.json", text);
    const Outcome outcome = train("--out run --epochs 2 --resume");
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    EXPECT_THAT(outcome.err,
                AllOf(HasSubstr("run/snapshot/training.json: "), Not(HasSubstr("json.exception"))));
    return outcome.err;
  };
  EXPECT_THAT(refused(state.substr(0, state.size() / 2)), HasSubstr("is not valid JSON"));
  Json changed = Json::parse(state);
  changed.erase("steps");
  EXPECT_THAT(refused(changed.dump()), HasSubstr("its \"steps\" is missing"));
  // So deep that to copy or print it by recursion would take more than the stack.
  constexpr size_t kDeep = 200'000;
  const std::string deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  EXPECT_THAT(refused(R"({"format": 1, "recipe": )" + deep + "}"), HasSubstr("64 deep"));
  EXPECT_THAT(refused(state + std::string(1 << 20, ' ')), HasSubstr("a description of a model"));
  changed = Json::parse(state);
  changed["weights_type"] = "F8";
  EXPECT_THAT(refused(changed.dump()), HasSubstr("F32, F16 or BF16"));
}

TEST_F(TrainCommand, ASignalEndsItWithASnapshot) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string out = "run" + std::to_string(number);
    const pid_t process = start_long_run(out);
    ::kill(process, number);
    const Outcome outcome = program_.wait(process);
    EXPECT_EQ(outcome.status, 128 + number) << outcome.err;
    EXPECT_GT(json(out + "/snapshot/training.json").at("steps"), 0);
  }
}

/// Of a job that is ended as a whole a process is told twice: by the system, and by its launcher.
TEST_F(TrainCommand, TheSameSignalPassedOnByALauncherIsOneWish) {
  ::setenv("RANK", "0", 1);
  ::setenv("WORLD_SIZE", "1", 1);
  const pid_t process = start_long_run("run");
  ::unsetenv("RANK");
  ::unsetenv("WORLD_SIZE");
  const auto is_pending = [&] {
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    const std::string text{std::istreambuf_iterator<char>(status), {}};
    return text.find("ShdPnd:\t0000000000004000") != std::string::npos;
  };
  ::kill(process, SIGTERM);
  while (is_pending()) std::this_thread::yield();
  ::kill(process, SIGTERM);
  const Outcome outcome = program_.wait(process);
  EXPECT_EQ(outcome.status, 128 + SIGTERM) << outcome.err;
  EXPECT_TRUE(exists("run/snapshot/training.json"));
}

TEST_F(TrainCommand, ASignalBeforeTheFirstStepDoesToo) {
  EXPECT_EQ(train("--out whole --epochs 2 --threads 1").status, 0);
  // The training data comes through a pipe: while it is awaited the signal is sent.
  ASSERT_EQ(::mkfifo(program_.path("pipe").c_str(), 0600), 0);
  const std::string run = command("--out run --batch-size 2 --epochs 2 --threads 1 --train ");
  const pid_t process = program_.start(run + "pipe");
  const int pipe = open_for_reader("pipe");
  ASSERT_GE(pipe, 0);
  ::kill(process, SIGTERM);
  EXPECT_EQ(::write(pipe, kSmallData, std::strlen(kSmallData)),
            static_cast<ssize_t>(std::strlen(kSmallData)));
  ::close(pipe);
  const Outcome outcome = program_.wait(process);
  EXPECT_EQ(outcome.status, 128 + SIGTERM) << outcome.err;
  EXPECT_EQ(json("run/snapshot/training.json").at("steps"), 0);
  const Outcome resumed = program_.run(run + "data.json --resume");
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("whole/model.safetensors"));
}

TEST_F(TrainCommand, GoesOnWhereNobodyReadsItsProgress) {
  const Outcome outcome = train("--out run --epochs 200 2>&1 | true");
  EXPECT_EQ(json("run/run.json").at("finished"), true) << outcome.err;
}

TEST_F(TrainCommand, AFileThatGrowsTooLargeIsAnError) {
  const Outcome outcome = train("--out deep/run --max-steps 1", "ulimit -f 8;");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("model.safetensors"), HasSubstr("File too large")));
  EXPECT_FALSE(exists("deep"));
}

TEST_F(TrainCommand, AFailedRunDoesNotBlockTheNext) {
  const Outcome failed = train("--out run --max-steps 5 --learning-rate 1e30");
  EXPECT_EQ(failed.status, 1) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("not finite"));
  EXPECT_FALSE(exists("run"));
  EXPECT_EQ(train("--out run --max-steps 5").status, 0);
}

TEST_F(TrainCommand, OverwriteThatFailsLeavesTheRunToBeResumed) {
  EXPECT_EQ(train("--out whole --epochs 2 --threads 1").status, 0);
  const std::string run = "--out run --epochs 2 --threads 1 ";
  EXPECT_EQ(train(run + "--stop-after-steps 2").status, 0);
  const std::string events = program_.read("run/events.jsonl");
  const Outcome failed = train("--out run --max-steps 5 --learning-rate 1e30 --overwrite");
  EXPECT_EQ(failed.status, 1);
  EXPECT_THAT(failed.err, AllOf(HasSubstr("not finite"), Not(HasSubstr("--resume"))));
  EXPECT_EQ(program_.read("run/events.jsonl"), events);
  const Outcome resumed = train(run + "--resume");
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("whole/model.safetensors"));
}

TEST_F(TrainCommand, OverwriteThatIsKilledLeavesTheRunToBeResumed) {
  const std::string run = "--out run --epochs 2 --threads 1 ";
  EXPECT_EQ(train(run + "--stop-after-steps 2").status, 0);
  const pid_t process = start_long_run("run", "--overwrite --seed 7");
  ::kill(process, SIGKILL);
  EXPECT_EQ(program_.wait(process).status, -1);
  EXPECT_FALSE(exists("run/snapshot"));
  const Outcome resumed = train(run + "--resume");
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(json("run/run.json").at("steps"), 4);
}

TEST_F(TrainCommand, OverwriteReplacesTheSnapshotByItsFirst) {
  EXPECT_EQ(train("--out run --epochs 2 --stop-after-steps 2").status, 0);
  const Outcome outcome = train("--out run --epochs 2 --seed 7 --stop-after-steps 1 --overwrite");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json("run/snapshot/training.json").at("steps"), 1);
  EXPECT_EQ(train("--out run --epochs 2 --seed 8 --overwrite").status, 0);
  for (const auto& entry : fs::directory_iterator(program_.path("run"))) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("snapshot")) << entry.path();
  }
}

TEST_F(TrainCommand, DoesNotOverwriteTheModelItBeginsFrom) {
  const std::string weights = program_.read("model/model.safetensors");
  const Outcome outcome = train("--out model --overwrite");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("model to begin from"));
  EXPECT_TRUE(program_.read("model/model.safetensors") == weights);
}

TEST_F(TrainCommand, KnowsWrongUsage) {
  for (const char* flags : {"",
                            "--out run --no-such-flag",
                            "--out run --resume --overwrite",
                            "--out run --resume",
                            "--out data.json",
                            "--out run --recipe fast",
                            "--out run --batch-size 0",
                            "--out run --batch-size -2",
                            "--out run --epochs -1",
                            "--out run --optimizer sgd",
                            "--out run --snapshot-every -3",
                            "--out run --stop-after-steps -1",
                            "--out run --log-every 0",
                            "--out run --log-every -1",
                            "--out run --snapshot-minutes -1",
                            "--out run --stop-after-minutes -1",
                            "--out run --threads 0",
                            "--out run --threads -1",
                            "--out run --max-seq-length 49",
                            "--out run --weights-type f8",
                            "--out run --cased --uncased"}) {
    const Outcome outcome = program_.run(command("--train data.json " + std::string(flags)));
    EXPECT_EQ(outcome.status, 2) << flags << ": " << outcome.err;
    EXPECT_NE(outcome.err, "") << flags;
    EXPECT_FALSE(exists("run")) << flags;
  }
}

TEST_F(TrainCommand, TellsWhatIsWrongInItsInput) {
  program_.write("broken.json", "{\"data\": [");
  program_.write("unanswered.json", R"({"data": [{"paragraphs": [{"context": "mice", "qas": [
      {"id": "x", "question": "what?"}]}]}]})");
  const auto refused = [&](const std::string& flags) {
    const Outcome outcome = program_.run(command("--out run " + flags));
    EXPECT_EQ(outcome.status, 3) << flags << ": " << outcome.err;
    EXPECT_FALSE(exists("run")) << flags;
    return outcome.err;
  };
  EXPECT_THAT(refused("--train broken.json"), HasSubstr("broken.json"));
  EXPECT_THAT(refused("--train unanswered.json"), HasSubstr("data[0].paragraphs[0].qas[0]"));
  EXPECT_THAT(refused("--train data.json --dev unanswered.json"),
              HasSubstr("unanswered.json: data[0].paragraphs[0].qas[0]"));
  fs::remove(program_.path("model/vocab.txt"));
  EXPECT_THAT(refused("--train data.json"), HasSubstr("vocab.txt"));
}

}  // namespace
