#include "common.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "base/thread_pool.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultModel = "minilm-l6-squad";

/// `models` beside the bin folder this program was installed in; empty where that cannot be told.
fs::path installed_models() {
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  return failed ? fs::path() : program.parent_path().parent_path() / "share/bertrand/models";
}

}  // namespace

void print_result(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::io,
                std::string("Standard output cannot be written (") + std::strerror(errno) + ").");
  }
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& names) {
  const auto distance = [&name](const std::string& other) {
    // Levenshtein's, a row of its table at a time.
    std::vector<size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < name.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i + 1);
      for (size_t j = 0; j < other.size(); ++j) {
        const size_t exchanged = diagonal + (name[i] == other[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({exchanged, diagonal + 1, row[j] + 1});
      }
    }
    return row.back();
  };
  std::string nearest;
  size_t least = 0;
  for (const std::string& other : names) {
    const size_t far = distance(other);
    if (nearest.empty() || far < least) {
      nearest = other;
      least = far;
    }
  }
  return nearest;
}

void add_case_flags(CLI::App& command, std::optional<bool>& lower_case) {
  auto* cased = command.add_flag_callback(
      "--cased", [&lower_case] { lower_case = false; },
      "Keep case and accents, whatever the model's folder says");
  command
      .add_flag_callback(
          "--uncased", [&lower_case] { lower_case = true; },
          "Lower-case and strip accents, whatever the model's folder says")
      ->excludes(cased);
}

void add_threads_flag(CLI::App& command, unsigned& threads) {
  command
      .add_option("--threads", threads,
                  "Threads to compute with [all it may use, which is also the most]")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("NUMBER");
}

unsigned chosen_threads(unsigned threads) {
  const unsigned usable = usable_threads(threads);
  if (usable < threads) {
    spdlog::warn("--threads {} is cut to {}: the process may use no more (affinity mask, cgroup).",
                 threads, usable);
  }
  return usable;
}

void add_engine_flags(CLI::App& command, EngineChoice& choice) {
  add_engine_kind_flags(command, choice);
  command
      .add_option("--device", choice.device,
                  "Where: cpu, or cuda or mlu with a number where there are several, cuda:1")
      ->type_name("cpu|cuda[:N]|mlu[:N]")
      ->capture_default_str();
}

void add_engine_kind_flags(CLI::App& command, EngineChoice& choice) {
  command
      .add_option("--engine", choice.engine,
                  "What computes: native, or torch, LibTorch [native on the CPU, else torch]")
      ->check(CLI::IsMember({"native", "torch"}))
      ->type_name("native|torch");
  command
      .add_option(
          "--torch-plugin", choice.plugin,
          "libbertrand_torch.so [$BERTRAND_TORCH_PLUGIN, else beside the program or in ../lib]")
      ->type_name("FILE");
  command
      .add_option(
          "--torch-library", choice.library,
          "libtorch_mlu.so, by which LibTorch knows MLU cards [$BERTRAND_TORCH_LIBRARY, else "
          "that of the torch_mlu beside LibTorch, of $VIRTUAL_ENV, $CONDA_PREFIX or python3]")
      ->type_name("FILE");
}

void add_precision_flag(CLI::App& command, Precision& precision) {
  command
      .add_option_function<std::string>(
          "--precision",
          [&precision](const std::string& name) { precision = parse_precision(name); },
          "What matrix products are computed in; auto: fp32 or bf16, whichever is faster; tf32 "
          "and fp16 on devices, int8 on the CPU alone [fp32]")
      ->check(CLI::IsMember({"auto", "fp32", "tf32", "bf16", "fp16", "int8"}))
      ->type_name("auto|fp32|tf32|bf16|fp16|int8");
}

void add_window_flags(CLI::App& command, WindowOptions& options) {
  command
      .add_option("--max-seq-length", options.max_seq_length,
                  "Tokens a window holds at most: question, document part and 3 more")
      ->check(CLI::Range(8u, 4096u))
      ->type_name("NUMBER")
      ->capture_default_str();
  command
      .add_option("--doc-stride", options.doc_stride,
                  "How many tokens after this window the next one begins")
      ->check(CLI::Range(1u, 4096u))
      ->type_name("NUMBER")
      ->capture_default_str();
  command
      .add_option("--max-query-length", options.max_query_length,
                  "Tokens kept of a question at most")
      ->check(CLI::Range(1u, 4096u))
      ->type_name("NUMBER")
      ->capture_default_str();
}

void add_answer_flags(CLI::App& command, AnswerFlags& flags) {
  command
      .add_option("--n-best", flags.options.n_best,
                  "Starts and ends looked at in a window, and answers kept")
      ->check(CLI::Range(1, 1000))
      ->type_name("NUMBER")
      ->capture_default_str();
  command
      .add_option("--max-answer-length", flags.options.max_answer_tokens,
                  "Tokens of an answer at most")
      ->check(CLI::Range(1u, 4096u))
      ->type_name("NUMBER")
      ->capture_default_str();
  auto* no_answer = command.add_flag_callback(
      "--no-answer,--version-2-with-negative", [&flags] { flags.no_answer = true; },
      "A question may have no answer [where the data is SQuAD v2.0]");
  command
      .add_flag_callback(
          "--always-answer", [&flags] { flags.no_answer = false; },
          "Every question has an answer, also in SQuAD v2.0")
      ->excludes(no_answer);
  command
      .add_option("--null-score-diff-threshold", flags.options.no_answer_threshold,
                  "No answer is given where its score, less that of the best answer, is above this")
      ->type_name("NUMBER")
      ->capture_default_str();
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option("--model", flags.path,
                  "Model folder [$BERTRAND_MODEL, else the model that comes with the program]")
      ->type_name("FOLDER");
  add_case_flags(command, flags.lower_case);
  add_threads_flag(command, flags.threads);
  add_precision_flag(command, flags.precision);
  add_engine_flags(command, flags.engine);
}

fs::path find_model(const fs::path& given) {
  if (!given.empty()) return given;
  const char* set = std::getenv("BERTRAND_MODEL");
  if (set != nullptr && *set != '\0') return set;
  for (const fs::path& models : {installed_models(), fs::path(BERTRAND_SOURCE_MODELS)}) {
    fs::path model = models / kDefaultModel;
    if (!models.empty() && is_there(model / "model.safetensors")) return model;
  }
  throw Error(ErrorCode::usage,
              "There is no model: give its folder by --model or in $BERTRAND_MODEL (the default " +
                  std::string(kDefaultModel) + " is neither in " + installed_models().string() +
                  " nor in " BERTRAND_SOURCE_MODELS ").");
}

Model load_model(const CLI::App& command, const ModelFlags& flags, WindowOptions& windows) {
  const fs::path path = find_model(flags.path);
  Model model = Model::load(
      path, {usable_threads(flags.threads), flags.precision, flags.engine, flags.lower_case});
  for (const std::string& note : model.notes()) spdlog::info("{}.", note);
  const auto positions = static_cast<uint32_t>(model.config().max_position_embeddings);
  if (command.count("--max-seq-length") == 0 && positions < windows.max_seq_length) {
    windows.max_seq_length = positions;
    spdlog::info("{} has {} positions: windows hold at most so many tokens.", path.string(),
                 positions);
  }
  return model;
}

}  // namespace bertrand::cli
