// What opening and converting a checkpoint of the size of BERT-base costs: files of 440 MB are made
// up in a temporary folder. A line for each measure with its limit; exits with 1 where one is
// missed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/convert.h"
#include "checkpoint/made_bundle.h"
#include "checkpoint/model_folder.h"

namespace bertrand::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kRounds = 5;

/// Gone with this object.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "bertrand-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(ErrorCode::io, name + ": cannot be made; set TMPDIR to a folder with 2 GB.");
    }
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void convert_to(const fs::path& in, const fs::path& out) {
  ConvertOptions options;
  options.in = in;
  options.out = out;
  convert(options, [](uint64_t, uint64_t) {});
}

/// As a plain program copies: a block after the other, flushed to the disk at the end.
void copy_in_blocks(const fs::path& from, const fs::path& to) {
  std::vector<char> block(1 << 20);
  const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t got = 0;
  bool done = in >= 0 && out >= 0;
  while (done && (got = ::read(in, block.data(), block.size())) > 0) {
    done = ::write(out, block.data(), static_cast<size_t>(got)) == got;
  }
  done = done && got == 0 && ::fsync(out) == 0;
  ::close(in);
  ::close(out);
  if (!done) throw Error(ErrorCode::io, to.string() + ": cannot be copied to.");
}

/// The most memory, in MB, that a process of its own takes for `work`.
double megabytes_of(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
      ::_exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
  }
  int status = -1;
  struct rusage usage {};
  if (child < 0 || ::wait4(child, &status, 0, &usage) != child || status != 0) {
    throw Error(ErrorCode::runtime, "The conversion to be measured failed.");
  }
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

bool report(const char* what, double value, const char* unit, bool keeps,
            const std::string& limit) {
  std::printf("%-58s %9.2f %-5s %s %s\n", what, value, unit, keeps ? "keeps" : "MISSES",
              limit.c_str());
  return keeps;
}

bool measure() {
  constexpr double kMostOpen = 100;  // milliseconds
  constexpr double kLeastRatio = 0.5;
  constexpr double kMostBeside = 64;  // MB
  const Folder folder;
  const fs::path prefix = folder.path / "model.ckpt";
  const fs::path out = folder.path / "out";
  const BertConfig config;  // of BERT-base
  write_file(folder.path / "bert_config.json", config.to_json());
  test::write_bundle(prefix.string(), config);
  const fs::path data = prefix.string() + ".data-00000-of-00001";
  const double megabytes = static_cast<double>(fs::file_size(data)) / (1 << 20);
  const double largest =
      static_cast<double>(config.vocab_size * config.hidden_size * 4) / (1 << 20);

  const double memory = megabytes_of([&] { convert_to(prefix, out); });
  double converted = 1e9;
  double copied = 1e9;
  double opened = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    fs::remove_all(out);
    converted = std::min(converted, seconds_of([&] { convert_to(prefix, out); }));
    copied = std::min(copied, seconds_of([&] { copy_in_blocks(data, folder.path / "copy"); }));
    fs::remove(folder.path / "copy");
    opened = std::min(opened, seconds_of([&] { ModelFolder::open(out); }));
  }
  std::printf("BERT-base, F32, %.0f MB, the best of %d rounds\n", megabytes, kRounds);
  bool good = report("opening safetensors, besides page reads", 1000 * opened, "ms",
                     opened * 1000 < kMostOpen, "under 100");
  std::printf("%-58s %9.2f MB/s\n", "copying the file, flushed to the disk", megabytes / copied);
  std::printf("%-58s %9.2f MB/s\n", "TensorFlow 1 to safetensors, flushed to the disk",
              megabytes / converted);
  good &= report("speed of the conversion over that of copying", copied / converted, "",
                 copied / converted >= kLeastRatio, "at least 0.5");
  std::string most = "under the largest tensor, ";
  most += std::to_string(static_cast<int>(largest));
  most += ", and 64";
  good &=
      report("peak memory of the conversion", memory, "MB", memory < largest + kMostBeside, most);
  fs::remove_all(out);
  test::write_bundle(prefix.string(), config, /*parts=*/3);
  const double sliced = megabytes_of([&] { convert_to(prefix, out); });
  good &= report("the same where the word embeddings are in slices", sliced, "MB",
                 sliced < largest + kMostBeside, most);
  return good;
}

}  // namespace
}  // namespace bertrand::bench

int main(int argc, char**) {
  if (argc > 1) {  // whatever it is
    std::puts(
        "Usage: bench_checkpoint\n"
        "Opens and converts checkpoints of the size of BERT-base, made up in a temporary folder\n"
        "(2 GB, in TMPDIR), and exits with 1 where a limit is missed. There are no flags.");
    return 0;
  }
  try {
    return bertrand::bench::measure() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
