// Bertrand's side of bench/compare: obeys lines on standard input, answers each with a line of
// JSON. Usage: bench_compare MODEL-FOLDER WINDOWS-FILE THREADS PRECISION [ENGINE DEVICE]
// `bench_compare threads N` says how many of N threads the process may use, of all with 0.
//
// The file has a line a window: how many tokens have segment 0, start and end of the answer, then
// the ids. Lines obeyed, where FIRST and STRIDE choose windows FIRST, FIRST + STRIDE, ..., and of
// inference groups of 32 windows, so that what is computed at once are neighbours:
//   logits FILE FIRST STRIDE  scores to FILE: for each window start [T], end [T], f32
//   inference FIRST STRIDE [BATCH]  {"seconds": ...} of the windows in batches of so many; without
//                            BATCH of as many tokens as predict takes
//   latency T COUNT          {"seconds": [...]} of one window cut to T tokens, alone
//   train FIRST STRIDE BATCH STEPS LENGTH  {"seconds": ...} of optimizer steps, windows in order;
//                            LENGTH is 0, or what windows are lengthened to by repeating them
//   memory                   {"bytes": ...} that were resident at most
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/thread_pool.h"
#include "checkpoint/model_folder.h"
#include "engine/engine.h"
#include "measure/work.h"
#include "reader/engines.h"

namespace bertrand::bench {
namespace {

struct Window {
  size_t question = 0;
  int32_t start = 0;
  int32_t end = 0;
  std::vector<int32_t> ids;
};

std::vector<Window> read_windows(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<Window> windows;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    Window window;
    fields >> window.question >> window.start >> window.end;
    for (int32_t id = 0; fields >> id;) window.ids.push_back(id);
    if (window.ids.empty()) {
      throw Error(ErrorCode::bad_input, path + ": has a line without a window.");
    }
    windows.push_back(std::move(window));
  }
  if (windows.empty()) {
    throw Error(ErrorCode::bad_input, path + ": has no window.");
  }
  return windows;
}

/// What computes, and where.
struct Place {
  EngineChoice engine;
  unsigned threads = 1;
  Precision precision = Precision::fp32;
};

/// Tokens of a training step computed at once: on GPUs a whole batch.
size_t step_tokens(const EngineChoice& engine) {
  constexpr size_t kOnDevices = 16384;
  return engine.device == "cpu" ? measure::kBatchTokens : kOnDevices;
}

class Side {
 public:
  Side(const std::string& folder, const std::string& windows, const Place& place)
      : windows_(read_windows(windows)),
        step_tokens_(step_tokens(place.engine)),
        may_run_ahead_(place.engine.device != "cpu") {
    const ModelFolder model = ModelFolder::open(folder);
    engine_ = make_engine(model.config(), place.engine, place.precision, place.threads);
    engine_->load_parameters(model.parameters(/*seed=*/0));
  }

  /// The answer to a line; empty where it is not known.
  std::string obey(const std::string& line) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "logits") {
      std::string file;
      size_t first = 0;
      size_t stride = 1;
      words >> file >> first >> stride;
      return write_logits(file, first, stride);
    }
    if (what == "memory") {
      rusage usage{};
      ::getrusage(RUSAGE_SELF, &usage);
      return "{\"bytes\": " + std::to_string(usage.ru_maxrss * 1024) + "}";
    }
    size_t first = 0;
    size_t second = 0;
    words >> first >> second;
    if (what == "latency") return latency(first, second);
    size_t batch = 0;
    size_t steps = 0;
    size_t length = 0;
    words >> batch >> steps >> length;
    if (what == "inference") return infer(first, second, batch);
    return what == "train" ? train(first, second, batch, steps, length) : std::string();
  }

 private:
  using Clock = std::chrono::steady_clock;

  static double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  /// To the nanosecond: some answers take less than a millisecond.
  static std::string text_of(double seconds) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9f", seconds);
    return text.data();
  }
  static std::string answer(double seconds) { return "{\"seconds\": " + text_of(seconds) + "}"; }

  /// What a batch holds at most.
  struct Room {
    size_t tokens = measure::kBatchTokens;
    size_t windows = std::numeric_limits<size_t>::max();
  };

  /// Adds a window where there is room for it.
  static bool add(PackedBatch& batch, const Window& window, const Room& room) {
    if (batch.windows() != 0 &&
        (batch.windows() == room.windows || batch.tokens() + window.ids.size() > room.tokens)) {
      return false;
    }
    batch.add(window.ids, window.question, batch.windows());
    return true;
  }

  /// Windows 32 to a group, or one; of groups first, first + stride, ...
  std::vector<PackedBatch> batches(size_t group, size_t first, size_t stride,
                                   const Room& room) const {
    std::vector<PackedBatch> all(1);
    for (size_t begin = first * group; begin < windows_.size(); begin += stride * group) {
      for (size_t i = begin; i < std::min(begin + group, windows_.size()); ++i) {
        if (!add(all.back(), windows_[i], room)) {
          all.emplace_back();
          add(all.back(), windows_[i], room);
        }
      }
    }
    return all;
  }

  std::string write_logits(const std::string& path, size_t first, size_t stride) {
    AtomicFile file(path);
    for (const PackedBatch& batch : batches(/*group=*/1, first, stride, Room())) {
      const SpanLogits logits = engine_->forward(batch);
      for (size_t window = 0; window < batch.windows(); ++window) {
        const auto begin = static_cast<size_t>(batch.offsets[window]);
        for (const std::vector<float>* scores : {&logits.start, &logits.end}) {
          file.write(std::as_bytes(std::span(*scores).subspan(begin, batch.length(window))));
        }
      }
    }
    file.commit();
    return "{}";
  }

  std::string infer(size_t first, size_t stride, size_t batch_windows) {
    Room room;
    if (batch_windows != 0) {
      room = {std::numeric_limits<size_t>::max(), batch_windows};
    }
    constexpr size_t kGroup = 32;
    const auto begin = Clock::now();
    for (const PackedBatch& batch : batches(kGroup, first, stride, room)) engine_->forward(batch);
    return answer(since(begin));
  }

  std::string latency(size_t tokens, size_t count) {
    std::vector<int32_t> ids = windows_.back().ids;
    ids.resize(tokens);
    PackedBatch batch;
    batch.add(ids, windows_.back().question, 0);
    std::string seconds;
    for (size_t i = 0; i < count; ++i) {
      const auto begin = Clock::now();
      engine_->forward(batch);
      seconds += (i == 0 ? "" : ", ") + text_of(since(begin));
    }
    return "{\"seconds\": [" + seconds + "]}";
  }

  std::string train(size_t first, size_t stride, size_t batch, size_t steps, size_t length) {
    Room room;
    room.tokens = step_tokens_;
    const auto begin = Clock::now();
    for (size_t step = 0; step < steps; ++step) {
      measure::TrainingStep made;
      made.windows = batch;
      for (size_t i = 0; i < batch; ++i) {
        Window window = windows_[(first + step * stride) * batch % windows_.size() + i];
        for (size_t from = 0; window.ids.size() < length; ++from) {
          window.ids.push_back(window.ids[from]);
        }
        if (made.batches.empty() || !add(made.batches.back(), window, room)) {
          made.batches.emplace_back();
          made.targets.emplace_back();
          add(made.batches.back(), window, room);
        }
        made.targets.back().start.push_back(window.start);
        made.targets.back().end.push_back(window.end);
      }
      measure::train(*engine_, made, steps_++);
    }
    if (may_run_ahead_) wait();
    return answer(since(begin));
  }

  /// A step returns when it has been begun on the device; an answer when all before it is done.
  void wait() {
    PackedBatch one;
    one.add(std::vector<int32_t>{windows_.front().ids.front()}, /*segment_begin=*/0, /*key=*/0);
    engine_->forward(one);
  }

  std::vector<Window> windows_;
  size_t step_tokens_;
  bool may_run_ahead_;
  std::unique_ptr<Engine> engine_;
  uint64_t steps_ = 0;
};

unsigned threads_of(const char* text) {
  return usable_threads(static_cast<unsigned>(std::max(0, std::atoi(text))));
}

int run(std::span<char*> arguments) {
  if (arguments.size() == 3 && std::string_view(arguments[1]) == "threads") {
    std::cout << threads_of(arguments[2]) << std::endl;
    return 0;
  }
  if (arguments.size() != 5 && arguments.size() != 7) {
    std::cerr
        << "Usage: bench_compare MODEL-FOLDER WINDOWS-FILE THREADS PRECISION [ENGINE DEVICE]\n";
    return 2;
  }
  Place place;
  place.threads = threads_of(arguments[3]);
  place.precision = parse_precision(arguments[4]);
  if (arguments.size() == 7) {
    place.engine.engine = arguments[5];
    place.engine.device = arguments[6];
  }
  Side side(arguments[1], arguments[2], place);
  std::cout << "{\"name\": \"bertrand\"}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string answer = side.obey(line);
    if (answer.empty()) {
      throw Error(ErrorCode::usage, "\"" + line + "\" is not known.");
    }
    std::cout << answer << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace bertrand::bench

int main(int argc, char** argv) {
  try {
    return bertrand::bench::run(std::span(argv, static_cast<size_t>(argc)));
  } catch (const bertrand::Error& error) {
    std::cerr << "bench_compare: " << error.what() << '\n';
    return error.exit_code();
  }
}
