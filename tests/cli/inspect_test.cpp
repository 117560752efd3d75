#include <filesystem>
#include <map>
#include <poll.h>
#include <pty.h>
#include <sstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/made_bundle.h"
#include "checkpoint/made_torch.h"
#include "cli/program.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string minilm = (test::source_folder() / "models/minilm-l6-squad").string();

TEST(Inspect, SaysWhatIsThereAndFailsWhereSomethingIsWrong) {
  const test::Program program;
  const auto good = program.run("inspect " + minilm);
  EXPECT_EQ(good.status, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("6 layers, hidden 384, 12 heads"));
  EXPECT_THAT(good.out, HasSubstr("qa_outputs.weight"));
  EXPECT_THAT(good.out, Not(HasSubstr("Problems")));
  std::filesystem::create_directory(program.path("broken"));
  std::filesystem::copy(minilm + "/model.safetensors", program.path("broken"));
  const auto bad = program.run("inspect broken");
  EXPECT_EQ(bad.status, 3);
  EXPECT_THAT(bad.out, HasSubstr("holds no vocab.txt"));
  EXPECT_THAT(bad.err, HasSubstr("has 2 problems"));
  const auto full = program.run("inspect " + minilm + " >/dev/full");
  EXPECT_EQ(full.status, 1);
}

TEST(Inspect, JsonHasAllOfIt) {
  const test::Program program;
  const json found = json::parse(program.run("inspect --json " + minilm).out);
  EXPECT_EQ(found["kind"], "safetensors");
  EXPECT_EQ(found["config"]["hidden_size"], 384);
  ASSERT_EQ(found["tensors"].size(), found["totals"]["tensors"]);
  EXPECT_EQ(found["tensors"][0].size(), 4U);
  uint64_t bytes = 0;
  for (const json& tensor : found["tensors"]) bytes += tensor["bytes"].get<uint64_t>();
  EXPECT_EQ(found["totals"]["bytes"], bytes);
  EXPECT_THAT(found["others"], IsEmpty());
  EXPECT_THAT(found["problems"], IsEmpty());
}

TEST(Inspect, LooksAtTheVocabulary) {
  const test::Program program;
  for (const char* name : {"config.json", "model.safetensors"}) {
    std::filesystem::create_directories(program.path("m"));
    std::filesystem::copy(minilm + "/" + name, program.path("m"));
  }
  const auto problem = [&] {
    const auto outcome = program.run("inspect --json m");
    EXPECT_EQ(outcome.status, 3);
    const json problems = json::parse(outcome.out)["problems"];
    EXPECT_EQ(problems.size(), 1U);
    return problems.at(0).get<std::string>();
  };
  EXPECT_THAT(problem(), HasSubstr("holds no vocab.txt"));
  program.write("m/vocab.txt", "");
  EXPECT_THAT(problem(), HasSubstr("vocab.txt: the piece [UNK] is missing"));
  program.write("m/vocab.txt", program.read(minilm + "/vocab.txt") + "onemorepiece\n");
  EXPECT_THAT(problem(), HasSubstr("has 30523 pieces, but the model embeds 30522"));
  std::filesystem::remove(program.path("m/vocab.txt"));
  std::filesystem::create_directory(program.path("m/vocab.txt"));
  EXPECT_THAT(problem(), HasSubstr("vocab.txt: is not a regular file"));
  std::filesystem::remove(program.path("m/vocab.txt"));
  ASSERT_EQ(::mkfifo(program.path("m/vocab.txt").c_str(), 0600), 0);
  EXPECT_THAT(problem(), HasSubstr("vocab.txt: is not a regular file"));
}

TEST(Inspect, ADeepDescriptionIsAProblem) {
  const test::Program program;
  std::filesystem::copy(minilm, program.path("m"));
  constexpr size_t kDeep = 200'000;
  program.write("m/training.json",
                "{\"a\":" + std::string(kDeep, '[') + std::string(kDeep, ']') + "}");
  const auto outcome = program.run("inspect m");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.out, HasSubstr("training.json: its lists and objects lie more than 64 deep"));
  EXPECT_EQ(program.run("inspect --json m").status, 3);
}

TEST(Inspect, FitsATerminal) {
  int ours = -1, its = -1;
  char name[64] = "";
  winsize size{};
  size.ws_col = 60;
  ASSERT_EQ(::openpty(&ours, &its, name, nullptr, &size), 0);
  const test::Program program;
  const pid_t process = program.start("inspect " + minilm + " >" + name);
  std::string text;
  for (bool ended = false; !ended;) {
    ended = test::Program::has_ended(process);
    constexpr int kMilliseconds = 50;
    for (pollfd ready{ours, POLLIN, 0}; ::poll(&ready, 1, kMilliseconds) > 0;) {
      char buffer[4096];
      text.append(buffer, static_cast<size_t>(::read(ours, buffer, sizeof buffer)));
    }
  }
  EXPECT_EQ(program.wait(process).status, 0);
  ::close(its);
  ::close(ours);
  EXPECT_THAT(text, HasSubstr("bert.encoder...f.query.bias\r\n"));
  std::istringstream lines(text.substr(text.find("\r\n\r\n") + 4));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 61U) << line;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// A pickle of so many names of one tensor, which is there once.
std::string pickle_of(size_t names) {
  using namespace std::string_literals;
  std::string text = "}S'0'\n" + test::pickled(test::MadeTensor{"", "0", names, 0, {1}, {1}});
  text += "q\4s"s;
  for (size_t i = 1; i < names; ++i) text += "S'" + std::to_string(i) + "'\nh\4s"s;
  return text + ".";
}

/// Writes files that are small and describe much: their names by the folder's.
void write_files_of_many_tensors(const test::Program& program) {
  constexpr size_t kMany = 60'000;
  std::map<std::string, test::MadeVariable> variables;
  std::string wide = "{", named = "{";
  const std::string letters(90, 'n');
  for (size_t i = 0; i < kMany; ++i) {
    const std::string number = std::to_string(i);
    variables[std::string(110, '\1') + number] = {{1}, 4 * i + 4, 4, 0};
    const std::string data = R"(],"data_offsets":[)" + number + "," + std::to_string(i + 1) + "]},";
    wide += "\"" + number + R"(":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)" + data;
    named += "\"" + letters + number + R"(":{"dtype":"U8","shape":[1)" + data;
  }
  program.write("names.index", test::made_index(variables));
  program.write("names.data-00000-of-00001", "");
  program.write("torch", test::made_zip({test::stored("m/data.pkl", pickle_of(kMany)),
                                         test::stored("m/data/0", std::string(4 * kMany, '\0'))}));
  for (auto& [name, header] : {std::pair("wide", &wide), std::pair("named", &named)}) {
    header->back() = '}';
    const auto length = test::little_endian(uint64_t{header->size()});
    program.write(name, length + *header + std::string(kMany, '\0'));
  }
}

TEST(Inspect, TakesLittleMemoryBesideTheFile) {
  const test::Program program;
  write_files_of_many_tensors(program);
  const size_t itself = program.wait(program.start("--help")).memory;
  for (const char* name : {"names.index", "wide", "named", "torch"}) {
    const size_t allowed = itself + (64 << 20) + std::filesystem::file_size(program.path(name));
    for (const char* flag : {"", "--json "}) {
      const auto outcome = program.wait(program.start(std::string("inspect ") + flag + name));
      EXPECT_THAT(outcome.out, HasSubstr("60000")) << outcome.err;
      EXPECT_LT(outcome.memory, allowed) << flag << name;
      EXPECT_LT(outcome.out.size(), size_t{48} << 20) << flag << name;
    }
  }
}
#endif

}  // namespace
}  // namespace bertrand
