#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/engine_choice.h"
#include "reader/model.h"
#include "squad/answers.h"
#include "squad/windows.h"

namespace bertrand::cli {

/// Writes to standard output at once. Throws Error (io) where that cannot be: results that are lost
/// must not look like success.
void print_result(std::string_view text);

/// The one of `names` that is nearest to `name` in single letters added, left out or exchanged.
std::string nearest_name(const std::string& name, const std::vector<std::string>& names);

/// --cased and --uncased, which exclude each other; empty: what the model's folder says.
void add_case_flags(CLI::App& command, std::optional<bool>& lower_case);

/// --threads; stays 0 unless given, see chosen_threads.
void add_threads_flag(CLI::App& command, unsigned& threads);

/// What usable_threads makes of --threads; says so once where that is fewer.
unsigned chosen_threads(unsigned threads);

/// --engine, --device, --torch-plugin, --torch-library.
void add_engine_flags(CLI::App& command, EngineChoice& choice);

/// Of these all but --device.
void add_engine_kind_flags(CLI::App& command, EngineChoice& choice);

/// --precision.
void add_precision_flag(CLI::App& command, Precision& precision);

/// --max-seq-length, --doc-stride, --max-query-length.
void add_window_flags(CLI::App& command, WindowOptions& options);

/// --n-best, --max-answer-length and what decides that there is no answer.
struct AnswerFlags {
  AnswerOptions options;
  std::optional<bool> no_answer;  ///< empty: where the data says v2.0
};
void add_answer_flags(CLI::App& command, AnswerFlags& flags);

/// --model and how to run it.
struct ModelFlags {
  std::filesystem::path path;  ///< empty: see find_model
  std::optional<bool> lower_case;
  unsigned threads = 0;
  Precision precision = Precision::fp32;
  EngineChoice engine;
};
void add_model_flags(CLI::App& command, ModelFlags& flags);

/// The folder given; else $BERTRAND_MODEL; else the model installed with the program; else the
/// one of the source tree. Throws Error (usage) where there is none of them.
std::filesystem::path find_model(const std::filesystem::path& given);

/// Finds and loads the model. Where --max-seq-length was not given and the model has fewer
/// positions, the windows become that short.
Model load_model(const CLI::App& command, const ModelFlags& flags, WindowOptions& windows);

}  // namespace bertrand::cli
