// One of several processes of a test. Usage: torch_process WORK RANK COUNT PORT FOLDER, where WORK
// is exchange, train, train-native, leave or hang. Ends with 0 where all was as it should be, else
// with a line of what was not.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "distributed/meeting.h"
#include "distributed/watch.h"
#include "engine/torch/shared_steps.h"

namespace bertrand::test {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

void exchange(ProcessGroup& group) {
  const unsigned rank = group.place().rank;
  const unsigned count = group.place().count;
  std::vector<double> doubles = {1.0, static_cast<double>(rank), 1e-12};
  group.sum(doubles);
  require(doubles[0] == count, "the sum of ones is not the number of processes");
  require(doubles[1] == count * (count - 1) / 2.0, "the sum of ranks is wrong");
  std::vector<float> floats(1000, static_cast<float>(rank + 1));
  group.sum(floats);
  const auto expected = static_cast<float>(count * (count + 1)) / 2;
  require(std::all_of(floats.begin(), floats.end(), [&](float x) { return x == expected; }),
          "the sum of f32 is wrong");
  std::vector<std::byte> bytes(77, static_cast<std::byte>(rank));
  group.broadcast(bytes, count - 1);
  const auto last = static_cast<std::byte>(count - 1);
  require(std::all_of(bytes.begin(), bytes.end(), [&](std::byte x) { return x == last; }),
          "the bytes are not those of the last process");
  group.barrier();
}

template <typename Value>
void write(std::ofstream& out, const std::vector<Value>& values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof values[0]));
}

/// Losses, then parameters, into the file of the process's rank.
void train(ProcessGroup& group, bool is_native, const std::filesystem::path& folder) {
  const ProcessPlace place = group.place();
  const auto engine = seeded_engine(is_native);
  const auto losses = make_steps(*engine, share(place.rank, place.count), &group);
  std::ofstream out(folder / std::to_string(place.rank), std::ios::binary);
  write(out, losses);
  write(out, parameters_of(*engine));
  require(static_cast<bool>(out.flush()), "the results cannot be written");
}

/// While they join each other they would tell otherwise of one that is gone.
void wait_for_joined(ProcessPlace place, const std::filesystem::path& folder) {
  const auto joined = [&](unsigned of) { return folder / ("joined" + std::to_string(of)); };
  std::ofstream(joined(place.rank)).close();
  for (unsigned other = 0, times = 0; other < place.count; ++times) {
    if (std::filesystem::exists(joined(other))) {
      ++other;
    } else {
      require(times < 100'000, "the others have not joined");
      ::usleep(1000);
    }
  }
}

void leave(ProcessGroup& group, const std::filesystem::path& folder) {
  wait_for_joined(group.place(), folder);
  if (group.place().rank + 1 == group.place().count) {
    ::_exit(0);
  }
  std::vector<float> values(10);
  try {
    group.sum(values);
  } catch (const Error& error) {
    require(std::string(error.what()).find("do not answer any more") != std::string::npos,
            error.what());
    require(error.code() == ErrorCode::elsewhere, "that a process is gone is not its own fault");
    for (const char* of_gloo : {"GLHF", "pair.cc"}) {
      require(std::string(error.what()).find(of_gloo) == std::string::npos, error.what());
    }
    return;
  }
  throw std::runtime_error("a process that is gone was not missed");
}

/// A sum that nothing ends but the watch.
void hang(const TorchGroupOptions& options, const std::filesystem::path& folder) {
  MeetingOptions where;
  where.place = options.place;
  where.address = options.address;
  where.port = options.port;
  Meeting meeting(where);
  const auto end = [](const std::string& sentence) {
    std::fprintf(stderr, "%s\n", sentence.c_str());
    ::_exit(sentence.starts_with("Rank 2 of 3 is gone") ? 0 : 1);
  };
  const Watch watch(meeting, WatchOptions{end, /*grace_seconds=*/0.1});
  const auto group = make_torch_group(built_plugin(), options);
  wait_for_joined(options.place, folder);
  if (options.place.rank == 2) {
    ::_exit(0);
  }
  std::vector<float> values(10);
  group->sum(values);
  throw std::runtime_error("a process that is gone was not missed");
}

void run(const std::vector<std::string>& words) {
  const auto number = [&](size_t index) {
    return static_cast<unsigned>(std::stoul(words.at(index)));
  };
  TorchGroupOptions options = group_options(number(2), number(3), static_cast<uint16_t>(number(4)));
  if (words.at(1) == "leave" && options.backend == "cncl") {
    options.timeout_seconds = 10;  // libcncl does not see who is gone
  }
  if (words.at(1) == "hang") {
    return hang(options, words.at(5));
  }
  const auto group = make_torch_group(built_plugin(), options);
  if (words.at(1) == "exchange") {
    exchange(*group);
  } else if (words.at(1) == "train" || words.at(1) == "train-native") {
    train(*group, /*is_native=*/words.at(1) == "train-native", words.at(5));
  } else {
    leave(*group, words.at(5));
  }
}

}  // namespace
}  // namespace bertrand::test

int main(int count, char** arguments) {
  try {
    bertrand::test::run({arguments, arguments + count});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %s: %s\n", count > 2 ? arguments[2] : "?", error.what());
    return 1;
  }
}
