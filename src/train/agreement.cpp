#include "train/agreement.h"

#include <cstdint>
#include <exception>
#include <span>
#include <sstream>

#include <fmt/format.h>

#include "base/error.h"
#include "distributed/watch.h"

namespace bertrand {
namespace {

/// What went wrong here, if anything did.
struct Failure {
  std::exception_ptr thrown;
  ErrorCode code = ErrorCode::runtime;
  std::string sentence;
};

Failure failure_of(const std::function<void()>& part) {
  Failure failure;
  try {
    part();
  } catch (const Error& error) {
    failure = {std::current_exception(), error.code(), error.what()};
  } catch (const std::exception& error) {
    failure = {std::current_exception(), ErrorCode::runtime, error.what()};
  }
  return failure;
}

}  // namespace

void broadcast_text(ProcessGroup& group, std::string& text, unsigned root) {
  uint64_t size = text.size();
  group.broadcast(std::as_writable_bytes(std::span(&size, 1)), root);
  text.resize(size);
  if (size != 0) {
    group.broadcast(std::as_writable_bytes(std::span(text.data(), size)), root);
  }
}

void together(ProcessGroup* group, const std::function<void()>& part) {
  if (group == nullptr) {
    return part();
  }
  const ProcessPlace place = group->place();
  Failure failure;
  {
    const Undisturbed alone;
    failure = failure_of(part);
  }
  // [processes]: 1 where something went wrong.
  std::vector<double> failed(place.count);
  failed[place.rank] = failure.thrown ? 1 : 0;
  group->sum(failed);
  unsigned first = 0;
  while (first < place.count && failed[first] == 0) {
    ++first;
  }
  if (first == place.count) {
    return;
  }
  broadcast_text(*group, failure.sentence, first);
  if (place.rank == 0 && first == 0) {
    std::rethrow_exception(failure.thrown);
  }
  // Rank 0 says it; who ended for the sake of another is told by the exit code.
  const auto code = place.rank == first ? failure.code : ErrorCode::elsewhere;
  throw Error(code, place.rank == 0 ? fmt::format("Rank {}: {}", first, failure.sentence) : "");
}

void check_alike(ProcessGroup* group, const Facts& facts) {
  if (group == nullptr) {
    return;
  }
  std::string values;
  for (const auto& [name, value] : facts) {
    values += value + '\n';
  }
  broadcast_text(*group, values, /*root=*/0);
  together(group, [&] {
    std::istringstream lines(values);
    std::string first;
    for (const auto& [name, value] : facts) {
      if (!std::getline(lines, first) || first != value) {
        throw Error(ErrorCode::usage,
                    fmt::format("The processes of a run must agree, but {} is {} here and {} at "
                                "rank 0. Start all of them with the same program, flags and files.",
                                name, value, first));
      }
    }
  });
}

}  // namespace bertrand
