#include "train/snapshot.h"

#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "base/small_json.h"
#include "checkpoint/safetensors.h"

namespace bertrand {
namespace {

constexpr const char* kMomentsFile = "optimizer.safetensors";
constexpr const char* kStateFile = "training.json";
constexpr int kFormat = 1;

constexpr std::pair<Moment, const char*> kMoments[] = {{Moment::first, "first."},
                                                       {Moment::second, "second."}};

void write_moments(const std::filesystem::path& path, const Engine& engine) {
  std::vector<TensorInfo> tensors;
  for (const auto& [moment, prefix] : kMoments) {
    for (const ParameterInfo& info : engine.parameters()) {
      tensors.push_back({prefix + info.name, DataType::f32, info.shape});
    }
  }
  SafetensorsWriter writer(path, std::move(tensors));
  for (const auto& [moment, prefix] : kMoments) {
    engine.store_moments(
        moment, [&](const ParameterInfo&, std::span<const float> values) { writer.write(values); });
  }
  writer.commit();
}

std::string state_to_json(const RunState& state, const std::optional<LossScaling>& scaling) {
  nlohmann::ordered_json json = {
      {"format", kFormat},
      {"steps", state.steps},
      {"seconds", state.seconds},
      {"mean_loss", state.mean_loss},
      {"threads", state.threads},
      {"processes", state.processes},
      {"dropout_key", state.dropout_key},
      {"weights_type", name_of(state.weights_type)},
      {"model_fingerprint", state.model_fingerprint},
      {"data_fingerprint", state.data_fingerprint},
      {"recipe", nlohmann::ordered_json::parse(recipe_to_json(state.recipe))}};
  if (scaling) {
    json["loss_scale"] = scaling->scale;
    json["loss_scale_good_steps"] = scaling->good_steps;
  }
  return json.dump(2) + "\n";
}

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw Error(ErrorCode::bad_input,
              fmt::format("{}: is not the state of a training run ({}); begin the run anew with "
                          "--overwrite.",
                          file.string(), what));
}

template <typename T>
T value_of(const nlohmann::json& json, const char* name, const std::filesystem::path& file) {
  try {
    return json.at(name).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(file, fmt::format("its \"{}\" is missing or not of the right kind", name));
  }
}

DataType parse_weights_type(const std::string& name, const std::filesystem::path& file) {
  for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
    if (name == name_of(type)) {
      return type;
    }
  }
  fail(file, "its \"weights_type\" is not F32, F16 or BF16");
}

/// Siblings of `path` whose names are its own and then `ending`.
std::vector<std::filesystem::path> beside(const std::filesystem::path& path,
                                          const std::string& ending) {
  std::vector<std::filesystem::path> found;
  if (!std::filesystem::is_directory(path.parent_path())) {
    return found;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    if (entry.path().filename().string().starts_with(path.filename().string() + ending)) {
      found.push_back(entry.path());
    }
  }
  return found;
}

}  // namespace

void write_snapshot(const std::filesystem::path& path, const Engine& engine,
                    const ModelFolderContents& contents, const RunState& state) {
  ModelFolderContents exact = contents;
  exact.type = DataType::f32;
  write_folder(path, [&](const std::filesystem::path& partial) {
    write_model_folder(partial, exact);
    write_moments(partial / kMomentsFile, engine);
    write_file(partial / kStateFile, state_to_json(state, engine.loss_scaling()));
  });
  for (const auto& old : beside(path, ".old-")) {  // of an earlier run, set aside
    std::error_code ignored;
    std::filesystem::remove_all(old, ignored);
  }
}

bool has_snapshot(const std::filesystem::path& path) {
  return std::filesystem::exists(path / kStateFile);
}

Error telling_of_snapshot(const Error& error, const std::filesystem::path& path) {
  if (!has_snapshot(path)) {
    return error;
  }
  return {error.code(),
          fmt::format("{} The snapshot of step {} is kept in {}; --resume goes on from it.",
                      error.what(), read_snapshot_state(path).steps, path.string())};
}

bool find_snapshot(const std::filesystem::path& path) {
  for (const auto& old : beside(path, ".old-")) {
    if (std::filesystem::exists(path)) {
      std::filesystem::remove_all(old);
    } else {
      std::filesystem::rename(old, path);
    }
  }
  for (const auto& partial : beside(path, ".partial-")) {
    std::filesystem::remove_all(partial);
  }
  return has_snapshot(path);
}

RunState read_snapshot_state(const std::filesystem::path& path) {
  const std::filesystem::path file = path / kStateFile;
  const auto json = read_json_object(file, "begin the run anew with --overwrite");
  if (const int format = value_of<int>(json, "format", file); format != kFormat) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: is of format {}; this program reads format "
                                                  "{}. Resume with the program that began the run.",
                                                  file.string(), format, kFormat));
  }
  RunState state;
  state.steps = value_of<uint64_t>(json, "steps", file);
  state.seconds = value_of<double>(json, "seconds", file);
  state.mean_loss = value_of<double>(json, "mean_loss", file);
  state.threads = value_of<unsigned>(json, "threads", file);
  state.model_fingerprint = value_of<std::string>(json, "model_fingerprint", file);
  state.data_fingerprint = value_of<std::string>(json, "data_fingerprint", file);
  // These three are not in snapshots of earlier programs.
  if (json.contains("dropout_key")) {
    state.dropout_key = value_of<std::string>(json, "dropout_key", file);
  }
  if (json.contains("processes")) {
    state.processes = value_of<unsigned>(json, "processes", file);
  }
  if (json.contains("weights_type")) {
    state.weights_type =
        parse_weights_type(value_of<std::string>(json, "weights_type", file), file);
  }
  if (json.contains("loss_scale")) {
    state.loss_scaling = LossScaling{value_of<double>(json, "loss_scale", file),
                                     value_of<uint64_t>(json, "loss_scale_good_steps", file)};
  }
  state.recipe =
      recipe_from_json(value_of<nlohmann::json>(json, "recipe", file).dump(), file.string());
  return state;
}

void load_snapshot(const std::filesystem::path& path, const RunState& state, Engine& engine) {
  const ModelFolder folder = ModelFolder::open(path);
  engine.load_parameters(folder.parameters(state.recipe.seed));
  const std::filesystem::path file = path / kMomentsFile;
  const SafetensorsFile moments = SafetensorsFile::open(file);
  for (const auto& [moment, prefix] : kMoments) {
    const auto read = [&, name_begin = prefix](const ParameterInfo& info, std::span<float> values) {
      const TensorView* tensor = moments.find(name_begin + info.name);
      if (tensor == nullptr || tensor->type != DataType::f32 || tensor->shape != info.shape) {
        throw Error(ErrorCode::bad_input,
                    fmt::format("{}: {}{} is missing or not of the model's shape.", file.string(),
                                name_begin, info.name));
      }
      to_f32(*tensor, values);
    };
    engine.load_moments(moment, read, state.steps);
  }
  if (state.loss_scaling) {
    engine.set_loss_scaling(*state.loss_scaling);
  }
}

std::string difference(const RunState& saved, const RunState& now) {
  if (saved.recipe.name != now.recipe.name) {
    return fmt::format("its recipe is \"{}\", and now \"{}\"", saved.recipe.name, now.recipe.name);
  }
  for (const RecipeField& field : recipe_fields()) {
    const std::string before = recipe_value(saved.recipe, field.name);
    const std::string after = recipe_value(now.recipe, field.name);
    if (before != after) {
      return fmt::format("its {} is {}, and now {}", field.name, before, after);
    }
  }
  if (saved.model_fingerprint != now.model_fingerprint) {
    return "it was begun from another model";
  }
  if (saved.data_fingerprint != now.data_fingerprint) {
    return "it was trained on other windows (data, vocabulary or case differ)";
  }
  return {};
}

void tell_other_bits(const RunState& saved, const RunState& now) {
  if (saved.threads != now.threads) {
    spdlog::warn(
        "The run was begun with {} threads and goes on with {}: the last bits of its weights may "
        "differ from those of an uninterrupted run.",
        saved.threads, now.threads);
  }
  if (!saved.dropout_key.empty() && saved.dropout_key != now.dropout_key) {
    spdlog::warn(
        "The run was begun with --dropout-key {} and goes on with {}: its dropout masks, and with "
        "them its weights, are from here on others than those of an uninterrupted run.",
        saved.dropout_key, now.dropout_key);
  }
}

}  // namespace bertrand
