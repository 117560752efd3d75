// --device mlu with the stand-in for torch_mlu: where its library is found, what is said where
// something is wrong with it, and whole runs.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/environment.h"
#include "cli/program.h"
#include "cli/small_data.h"
#include "distributed/launch.h"
#include "places.h"
#include "predict/small_reader.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

fs::path standin(const std::string& folder, const std::string& name = "libtorch_mlu.so") {
  return fs::path(kStandinMlu) / folder / name;
}

class MluCommands : public testing::Test {
 protected:
  void SetUp() override {
    if (*kStandinMlu == '\0') {
      GTEST_SKIP() << kNoPlugin;
    }
    write_small_reader(program_.path("model"));
    program_.write("data.json", kSmallData);
  }

  /// With these variables and none that could lead to another torch_mlu.
  Outcome run(const std::string& arguments, const std::string& variables = "") const {
    return program_.run(arguments,
                        "env -u VIRTUAL_ENV -u CONDA_PREFIX -u BERTRAND_TORCH_LIBRARY "
                        "PATH=/nowhere STANDIN_MLU_REPORT=report " +
                            variables);
  }

  Outcome ask(const std::string& flags, const std::string& variables = "") const {
    return run(
        "ask --model model --max-query-length 8 -q 'who?' -c 'The red fox ran off.' " + flags,
        variables);
  }

  Outcome train(const std::string& flags) const {
    return run(train_command("--batch-size 2 " + flags));
  }
  static std::string train_command(const std::string& flags) {
    return "train --model model --max-query-length 8 --train data.json --threads 1 --seed 3 "
           "--epochs 4 " +
           flags;
  }

  static std::string on_mlu(const std::string& folder = "backend",
                            const std::string& device = "mlu") {
    return "--device " + device + " --torch-library " + standin(folder).string() + " ";
  }

  Json json(const std::string& name) const { return Json::parse(program_.read(name)); }
  double loss(const std::string& run) const {
    return json(run + "/run.json").at("final_loss").get<double>();
  }

  /// So many processes computed there, and nothing that the device had no operator for.
  void expect_computed_there(unsigned processes) const {
    std::istringstream report(program_.read("report"));
    unsigned lines = 0;
    for (std::string line; std::getline(report, line); ++lines) {
      EXPECT_EQ(Json::parse(line).at("fallbacks"), "");
      EXPECT_GT(Json::parse(line).at("operators"), 0);
    }
    EXPECT_EQ(lines, processes);
    fs::remove(program_.path("report"));
  }

  /// Links to the stand-in as a Python has the packages torch_mlu and torch.
  fs::path make_python(const std::string& folder, const std::string& python = "python3.11") const {
    fs::path lib = program_.path("python") / "lib";
    const fs::path packages = lib / python / "site-packages";
    fs::create_directories(packages / "torch_mlu/csrc/lib");
    fs::create_symlink(standin(folder), packages / "torch_mlu/csrc/lib/libtorch_mlu.so");
    return lib;
  }

  Program program_;
};

TEST_F(MluCommands, SayWhereTheLibraryIsLookedFor) {
  const Outcome outcome = ask("--device mlu");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("libtorch_mlu.so"), HasSubstr("site-packages"),
                                 HasSubstr("--torch-library")));
}

TEST_F(MluCommands, SayWhatIsWrongWithTheLibrary) {
  const auto expect = [&](int status, const std::string& library, const std::string& sentence,
                          const std::string& variables = "") {
    const Outcome outcome = ask("--device mlu --torch-library " + library, variables);
    EXPECT_EQ(outcome.status, status) << library;
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_EQ(outcome.out, "");
  };
  program_.write("text.so", "no library");
  expect(2, "nowhere.so", "nowhere.so is not there; give its file by --torch-library");
  expect(2, ".", "--device mlu: . is a folder; give its file by --torch-library");
  expect(1, "text.so", "cannot be loaded");
  expect(1, standin("no_device"), "brings LibTorch no devices");
  expect(1, standin("python"), "undefined symbol: standin_");
  expect(2, standin("backend"), "no such device; look at its driver (cnmon)",
         "STANDIN_MLU_DEVICES=0");
}

TEST_F(MluCommands, FindTheLibrary) {
  const fs::path library = standin("backend");
  EXPECT_EQ(ask("--device mlu --torch-library " + library.string()).status, 0);
  EXPECT_EQ(ask("--device mlu:3", "BERTRAND_TORCH_LIBRARY=" + library.string()).status, 0);
  const fs::path prefix = make_python("backend").parent_path();
  EXPECT_EQ(ask("--device mlu", "VIRTUAL_ENV=" + prefix.string()).status, 0);
  EXPECT_EQ(ask("--device mlu", "CONDA_PREFIX=" + prefix.string()).status, 0);
  expect_computed_there(4);
  fs::create_directories(prefix / "bin");
  program_.write("python/bin/python3", "");
  EXPECT_EQ(ask("--device mlu", "PATH=/nowhere:" + (prefix / "bin").string()).status, 0);
  // As in a virtual environment that shares the packages of its Python.
  fs::create_directories(program_.path("environment/bin"));
  fs::create_symlink(prefix / "bin/python3", program_.path("environment/bin/python3"));
  EXPECT_EQ(ask("--device mlu", "PATH=" + program_.path("environment/bin").string()).status, 0);
  expect_computed_there(2);
}

/// The symbols of Python's part come from the libraries beside it; no Python is run.
TEST_F(MluCommands, OpenALibraryWithPartsForPython) {
  const std::string python = "python3.99";  // of which the system has no libpython
  const fs::path lib = make_python("python", python);
  const fs::path torch = lib / python / "site-packages/torch/lib";
  fs::create_directories(torch);
  fs::create_symlink(standin("python", "libtorch_python.so"), torch / "libtorch_python.so");
  const std::string variables = "VIRTUAL_ENV=" + lib.parent_path().string();
  const Outcome without = ask("--device mlu", variables);
  EXPECT_EQ(without.status, 1);
  EXPECT_THAT(without.err,
              AllOf(HasSubstr("undefined symbol"),
                    HasSubstr("(libpython3.99.so.1.0: cannot open shared object file"),
                    HasSubstr("install the package libpython3.99, or set LD_LIBRARY_PATH")));
  fs::create_symlink(standin("python", "libpython3.11.so"), lib / "libpython3.99.so.1.0");
  const Outcome outcome = ask("--device mlu", variables);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  expect_computed_there(1);
}

TEST_F(MluCommands, AnswersAreTheNativeEngines) {
  const Outcome native =
      run("predict --model model --max-query-length 8 --data data.json --out cpu");
  ASSERT_EQ(native.status, 0) << native.err;
  const Outcome there =
      run("predict --model model --max-query-length 8 --data data.json --out mlu " + on_mlu());
  ASSERT_EQ(there.status, 0) << there.err;
  EXPECT_EQ(json("mlu/predictions.json"), json("cpu/predictions.json"));
  const Outcome evaluated =
      run("evaluate --model model --max-query-length 8 --data data.json " + on_mlu());
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_EQ(evaluated.out, run("evaluate --model model --max-query-length 8 --data data.json").out);
  expect_computed_there(2);
}

/// Snapshots are those of the native engine, to begin with and to go on from.
TEST_F(MluCommands, TrainsAsTheCpuDoes) {
  ASSERT_EQ(train("--out cpu").status, 0);
  const Outcome there = train("--out mlu --dropout-key example --dev data.json " + on_mlu());
  ASSERT_EQ(there.status, 0) << there.err;
  EXPECT_NEAR(loss("mlu") / loss("cpu"), 1, 1e-4);
  EXPECT_EQ(json("mlu/run.json").at("device"), "mlu");
  expect_computed_there(1);
  for (const auto& [first, second] :
       {std::pair{on_mlu(), std::string()}, std::pair{std::string(), on_mlu()}}) {
    ASSERT_EQ(
        train("--out run --dropout-key example --stop-after-steps 3 --overwrite " + first).status,
        0);
    const Outcome ended = train("--out run --dropout-key example --resume " + second);
    ASSERT_EQ(ended.status, 0) << ended.err;
    EXPECT_NEAR(loss("run") / loss("cpu"), 1, 1e-4);
  }
  expect_computed_there(2);
}

/// A run that is resumed draws the same masks: bit for bit what it would have been.
TEST_F(MluCommands, AResumedRunIsTheSameRun) {
  for (const char* precision : {"fp32", "bf16"}) {
    const std::string how = on_mlu() + "--overwrite --precision " + precision;
    ASSERT_EQ(train("--out whole " + how).status, 0);
    ASSERT_EQ(train("--out parts --stop-after-steps 4 " + how).status, 0);
    ASSERT_EQ(train("--out parts --resume " + on_mlu()).status, 0);
    EXPECT_TRUE(program_.read("whole/model.safetensors") ==
                program_.read("parts/model.safetensors"))
        << precision;
  }
  expect_computed_there(6);
}

/// Kernels of newer versions and cards are taken where the library has them and says that they
/// serve: in 16 bits for attention, for AdamW with its bias correction always.
TEST_F(MluCommands, TakeTheKernelsThatTheLibraryHas) {
  for (const std::string precision : {"fp32", "bf16"}) {
    const std::string how = on_mlu() + "--overwrite --precision " + precision;
    ASSERT_EQ(train("--out without " + how).status, 0);
    const Json without = Json::parse(program_.read("report"));
    EXPECT_EQ(without.at("fused_attention"), 0);
    EXPECT_EQ(without.at("fused_steps"), 0);
    expect_computed_there(1);
    const Outcome outcome =
        run(train_command("--batch-size 2 --out with " + how), "STANDIN_MLU_FUSED=1");
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const Json with = Json::parse(program_.read("report"));
    EXPECT_EQ(with.at("fused_attention") > 0, precision == "bf16");
    EXPECT_EQ(with.at("fused_steps"), 2 * json("with/run.json").at("steps").get<int>());
    expect_computed_there(1);
    EXPECT_NEAR(loss("with") / loss("without"), 1, precision == "bf16" ? 1e-2 : 1e-4);
  }
}

TEST_F(MluCommands, FourProcessesTrainAsOneDoes) {
  ASSERT_EQ(run(train_command("--out alone --batch-size 4")).status, 0);
  for (const char* folder : {"backend", "process_group", "plain"}) {
    const Outcome outcome = run(
        "launch --nproc 4 -- " + train_command(std::string("--batch-size 1 --overwrite --out ") +
                                               "four --dropout-key example " + on_mlu(folder)),
        "NEUWARE_HOME=" + standin(folder, "").string());
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(json("four/run.json").at("processes"), 4);
    EXPECT_EQ(json("four/run.json").at("windows_a_step"), 4);
    expect_computed_there(4);
  }
}

TEST_F(MluCommands, TwoProcessesOnOneCardAreRefused) {
  const auto expect_refusal = [&](const std::string& flags, const std::string& variables) {
    const Outcome outcome =
        run("launch --nproc 2 -- " + train_command("--out run " + flags), variables);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("2 processes of a machine have 1 card"),
                                   HasSubstr("--nproc 1"), HasSubstr("BERTRAND_CARDS=1")));
    EXPECT_FALSE(fs::exists(program_.path("run")));
  };
  expect_refusal(on_mlu(), "STANDIN_MLU_DEVICES=1");
  expect_refusal(on_mlu("backend", "mlu:1"), "STANDIN_MLU_DEVICES=4");
  expect_refusal(on_mlu(), "MLU_VISIBLE_DEVICES=3");
}

/// As under Slurm, where each process sees a card of its own alone.
TEST_F(MluCommands, OneVisibleCardAProcessIsItsOwn) {
  const std::string command = train_command("--batch-size 1 --out run " + on_mlu());
  const uint16_t port = free_port();
  const auto process = [port](const std::string& rank) {
    return "WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
           std::to_string(port) + " RANK=" + rank + " LOCAL_RANK=" + rank +
           " MLU_VISIBLE_DEVICES=" + rank + " ";
  };
  const Outcome outcome =
      program_.run(command, process("1") + "'" + kProgram + "' " + command + " & " + process("0"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json("run/run.json").at("processes"), 2);
}

/// libcncl would wait without end, and nobody is there to end the others.
TEST_F(MluCommands, OneThatIsKilledEndsTheOthersWithoutLaunch) {
  const Environment variables({{"NEUWARE_HOME", standin("plain", "")},
                               {"WORLD_SIZE", "3"},
                               {"LOCAL_WORLD_SIZE", "3"},
                               {"MASTER_ADDR", "127.0.0.1"},
                               {"MASTER_PORT", std::to_string(free_port())},
                               {"BERTRAND_GONE_TIMEOUT", "1"}});
  std::vector<pid_t> processes;
  for (const std::string rank : {"0", "1", "2"}) {
    const Environment place({{"RANK", rank}, {"LOCAL_RANK", rank}});
    processes.push_back(program_.start(
        "train --model model --max-query-length 8 --train data.json --threads 1 --epochs 1000000 "
        "--batch-size 1 --out run " +
        on_mlu("plain") + " 2>err" + rank));
  }
  const auto has_begun = [&] {
    return program_.read("run/events.jsonl").find("\"step\":9") != std::string::npos;
  };
  for (int i = 0; i < 6000 && !has_begun() && !Program::has_ended(processes[0]); ++i) {
    ::usleep(10'000);
  }
  EXPECT_TRUE(has_begun());
  ::kill(processes[2], SIGKILL);
  program_.wait(processes[2]);
  for (const size_t rank : {0U, 1U}) {
    EXPECT_EQ(program_.wait(processes[rank]).status, 4);
    EXPECT_THAT(program_.read("err" + std::to_string(rank)), HasSubstr("Rank 2 of 3 is gone: "));
  }
}

/// The one at fault ends by its exit code, the others as those who miss it.
TEST_F(MluCommands, TheProcessWithoutACardIsNamed) {
  const Outcome outcome =
      run("launch --nproc 3 -- " + train_command("--out run " + on_mlu()), "STANDIN_MLU_DEVICES=2");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Rank 2: 3 processes of this machine have 2 cards"),
                                 HasSubstr("launch: Rank 2 failed with exit code 2.")));
}

TEST_F(MluCommands, SayThatTheMemoryIsFull) {
  const Outcome outcome = run(train_command("--out run " + on_mlu()), "STANDIN_MLU_BYTES=100000");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("memory is full"), HasSubstr("--batch-tokens")));
}

constexpr const char* kRunSquad =
    "run_squad --init_checkpoint model --do_train --train_file data.json --do_predict "
    "--predict_file data.json --do_eval --max_query_length 8 --max_steps 2 "
    "--train_batch_size 2 --output_dir squad --threads 1 ";

TEST_F(MluCommands, RunSquadTakesTheDevice) {
  const Outcome outcome = run(kRunSquad + on_mlu());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(fs::exists(program_.path("squad/predictions.json")));
  expect_computed_there(1);
}

/// Hours on the CPU, where there are cards, are not to go unexplained.
TEST_F(MluCommands, RunSquadSaysWhyItDidNotFindTheCards) {
  make_python("backend");
  const std::string library =
      "python/lib/python3.11/site-packages/torch_mlu/csrc/lib/libtorch_mlu.so";
  fs::remove(program_.path(library));
  program_.write(library, "no library");
  const std::string cannot = "libtorch_mlu.so cannot be loaded (";
  const Outcome found =
      run(kRunSquad + std::string("--quiet"), "VIRTUAL_ENV=" + program_.path("python").string());
  EXPECT_EQ(found.status, 0);
  EXPECT_THAT(found.err, AllOf(HasSubstr("Computed on the CPU; cards could not be looked for. "),
                               HasSubstr(cannot)));
  const Outcome set = run(kRunSquad, "BERTRAND_TORCH_LIBRARY=/nowhere.so");
  EXPECT_EQ(set.status, 0);
  EXPECT_THAT(set.err, HasSubstr("/nowhere.so is not there"));
  const Outcome named = run(kRunSquad + std::string("--torch-library ") + library);
  EXPECT_EQ(named.status, 2);  // who names it wants it
  EXPECT_THAT(named.err, HasSubstr(cannot));
  EXPECT_THAT(run(kRunSquad).err, HasSubstr("The plug-in finds no cards here."));
}

}  // namespace
}  // namespace bertrand::test
