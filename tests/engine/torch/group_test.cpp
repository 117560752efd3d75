// Processes joined by gloo: what they exchange, and a step of all of them against
// the same step of one.
#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <spawn.h>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/environment.h"
#include "base/temporary_folder.h"
#include "distributed/launch.h"
#include "engine/torch/shared_steps.h"
#include "places.h"

namespace bertrand::test {
namespace {

/// What the helper program takes from its environment.
Environment::Values mlu_of_process(const std::string& standin, unsigned rank,
                                   const std::filesystem::path& folder) {
  if (standin.empty()) return {};
  const auto library = std::filesystem::path(kStandinMlu) / standin;
  return {{"BERTRAND_TEST_DEVICE", "mlu:" + std::to_string(rank)},
          {"BERTRAND_TEST_LIBRARY", library / "libtorch_mlu.so"},
          {"NEUWARE_HOME", library},
          {"STANDIN_MLU_REPORT", folder / "report"}};
}

/// The helper program, once a rank; whether all ended well. Where a folder of the stand-in is
/// named, each computes on an MLU of its own.
bool run_processes(const char* work, unsigned count, const std::filesystem::path& folder,
                   const std::string& standin = "") {
  const uint16_t port = free_port();
  std::vector<pid_t> processes;
  for (unsigned rank = 0; rank < count; ++rank) {
    const Environment mlu(mlu_of_process(standin, rank, folder));
    std::vector<std::string> words = {kTorchProcess,        work,
                                      std::to_string(rank), std::to_string(count),
                                      std::to_string(port), folder.string()};
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t process = -1;
    EXPECT_EQ(::posix_spawn(&process, kTorchProcess, nullptr, nullptr, arguments.data(), environ),
              0);
    processes.push_back(process);
  }
  bool well = true;
  for (const pid_t process : processes) {
    int status = -1;
    ::waitpid(process, &status, 0);
    well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return well;
}

class TorchGroup : public testing::TestWithParam<unsigned> {};

TEST_P(TorchGroup, SumsAndBroadcasts) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  EXPECT_TRUE(run_processes("exchange", GetParam(), folder.path()));
}

/// Nothing was computed that the device has no operator for.
void expect_no_fallbacks(const std::filesystem::path& folder, unsigned processes) {
  std::ifstream report(folder / "report");
  unsigned lines = 0;
  for (std::string line; std::getline(report, line); ++lines) {
    EXPECT_THAT(line, testing::HasSubstr(R"("fallbacks": "",)"));
  }
  EXPECT_EQ(lines, processes);
}

void expect_training_as_alone(bool is_native, unsigned count, const std::string& standin = "") {
  const TemporaryFolder folder;
  ASSERT_TRUE(run_processes(is_native ? "train-native" : "train", count, folder.path(), standin));
  expect_no_fallbacks(folder.path(), standin.empty() ? 0 : count);
  const auto alone = seeded_engine(is_native);
  const std::vector<double> expected = make_steps(*alone, share(0, 1), nullptr);
  std::vector<std::string> results;
  for (unsigned rank = 0; rank < count; ++rank) {
    std::ifstream file(folder.path() / std::to_string(rank), std::ios::binary);
    results.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    EXPECT_TRUE(results.back() == results.front()) << "rank " << rank << " has other bits";
  }
  std::vector<double> losses(expected.size());
  std::vector<float> parameters(parameters_of(*alone).size());
  const size_t loss_bytes = losses.size() * sizeof losses[0];
  ASSERT_EQ(results.front().size(), loss_bytes + parameters.size() * sizeof parameters[0]);
  std::memcpy(losses.data(), results.front().data(), loss_bytes);
  std::memcpy(parameters.data(), results.front().data() + loss_bytes,
              parameters.size() * sizeof parameters[0]);
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(losses[step] / expected[step], 1, 1e-5) << "step " << step;
  }
  EXPECT_LT(relative_difference(parameters, parameters_of(*alone)), 1e-5);
}

TEST_P(TorchGroup, TrainsAsOneProcessDoes) {
  BERTRAND_NEEDS_TORCH();
  expect_training_as_alone(/*is_native=*/false, GetParam());
}

/// The plug-in joins processes, whatever engine computes in them.
TEST_P(TorchGroup, JoinsNativeEnginesToo) {
  BERTRAND_NEEDS_TORCH();
  expect_training_as_alone(/*is_native=*/true, GetParam());
}

TEST_P(TorchGroup, MissesAProcessThatIsGone) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  EXPECT_TRUE(run_processes("leave", GetParam(), folder.path()));
}

INSTANTIATE_TEST_SUITE_P(Processes, TorchGroup, testing::Values(2U, 4U));

/// By the process group of the stand-in's torch_mlu, as new and old versions export it, and by
/// libcncl.
class MluGroup : public testing::TestWithParam<const char*> {};

TEST_P(MluGroup, SumsAndBroadcasts) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  EXPECT_TRUE(run_processes("exchange", 4, folder.path(), GetParam()));
  expect_no_fallbacks(folder.path(), 4);
}

TEST_P(MluGroup, FourProcessesTrainAsOneDoes) {
  BERTRAND_NEEDS_TORCH();
  expect_training_as_alone(/*is_native=*/false, 4, GetParam());
}

TEST_P(MluGroup, MissesAProcessThatIsGone) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  EXPECT_TRUE(run_processes("leave", 2, folder.path(), GetParam()));
}

/// libcncl would wait for it without end.
TEST(MluGroups, AWatchEndsThoseWhoWaitForOneThatIsGone) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  EXPECT_TRUE(run_processes("hang", 3, folder.path(), "plain"));
}

INSTANTIATE_TEST_SUITE_P(Libraries, MluGroup, testing::Values("backend", "process_group", "plain"));

TEST(TorchGroups, OthersThatDoNotComeAreMissed) {
  BERTRAND_NEEDS_TORCH();
  TorchGroupOptions options = group_options(/*rank=*/1, /*count=*/2, free_port());
  options.timeout_seconds = 1;
  try {
    make_torch_group(built_plugin(), options);
    FAIL() << "nobody was there to be met";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::runtime);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("Rank 1 of 2"),
                                             testing::HasSubstr("127.0.0.1:")));
  }
}

/// NCCL and CNCL join in their first exchange. What they say there is their own fault's cause, not
/// that others are gone; c10d has it in the last of several lines.
TEST(TorchGroups, WhatHindersThemIsSaidWhenTheyJoin) {
  BERTRAND_NEEDS_TORCH();
  const TemporaryFolder folder;
  auto variables = mlu_of_process("backend", /*rank=*/0, folder.path());
  variables["STANDIN_MLU_REFUSES"] =
      "NCCL error in: NCCLUtils.cpp:77, invalid usage, NCCL version 2.27.5\n"
      "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
      "Last error:\nDuplicate GPU detected : rank 1 and rank 0 both on one\n";
  const Environment environment(std::move(variables));
  try {
    make_torch_group(built_plugin(), group_options(/*rank=*/0, /*count=*/1, free_port()));
    ADD_FAILURE() << "the exchange should have been refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::runtime);
    EXPECT_EQ(std::string(error.what()),
              "Rank 0 of 1: cncl cannot join the others (NCCL error in: NCCLUtils.cpp:77, invalid "
              "usage, NCCL version 2.27.5; Duplicate GPU detected : rank 1 and rank 0 both on "
              "one).");
  }
}

/// A member that the program does not know of is not looked at.
TEST(TorchGroups, TakeOptionsOfAnEarlierProgram) {
  BERTRAND_NEEDS_TORCH();
  BertrandTorchGroupOptions options{};
  options.size = offsetof(BertrandTorchGroupOptions, own_address);
  options.own_address = "not an address";
  options.backend = "gloo";
  options.device = "cpu";
  options.address = "127.0.0.1";
  options.port = free_port();
  options.count = 1;
  options.serves_store = 1;
  options.timeout = 30;
  const BertrandTorchTable& table = built_plugin()->table();
  BertrandTorchGroup* group = nullptr;
  ASSERT_EQ(table.create_group(&options, &group), bertrand_torch_ok) << table.last_error();
  table.free_group(group);
  options.size = sizeof options;
  options.port = free_port();
  EXPECT_EQ(table.create_group(&options, &group), bertrand_torch_failed) << "now it is looked at";
}

TEST(TorchGroups, APortThatIsTakenIsSaidWithTheRemedy) {
  BERTRAND_NEEDS_TORCH();
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  auto* place = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(socket, place, size) + ::listen(socket, 1), 0);
  ASSERT_EQ(::getsockname(socket, place, &size), 0);
  TorchGroupOptions options = group_options(/*rank=*/0, /*count=*/2, ntohs(address.sin_port));
  options.timeout_seconds = 2;
  try {
    make_torch_group(built_plugin(), options);
    FAIL() << "the port is taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("another --master-port"));
  }
  ::close(socket);
}

TEST(TorchGroups, BackendsThatAreNotThere) {
  BERTRAND_NEEDS_TORCH();
  TorchGroupOptions options = group_options(0, 1, free_port());
  options.backend = "carrier-pigeon";
  try {
    make_torch_group(built_plugin(), options);
    FAIL() << "that backend should not be there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), testing::HasSubstr("gloo"));
  }
}

}  // namespace
}  // namespace bertrand::test
