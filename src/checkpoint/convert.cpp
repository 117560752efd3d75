#include "checkpoint/convert.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "base/small_json.h"
#include "checkpoint/bert_weights.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/weight_writer.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 20;  // elements converted at once
constexpr size_t kShownNames = 8;

/// "a, b, c and 5 more".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShownNames); ++i) {
    text += (i == 0 ? "" : ", ") + printable(names[i]);
  }
  return names.size() > kShownNames ? text + fmt::format(" and {} more", names.size() - kShownNames)
                                    : text;
}

/// A vocabulary is cased where one of its pieces has a capital letter; the special ones do not
/// count.
bool has_capitals(const fs::path& vocabulary) {
  const MappedFile file(vocabulary);
  bool special = false;
  bool first = true;
  for (const char letter : file.text()) {
    if (first) special = letter == '[';
    first = letter == '\n';
    if (!special && letter >= 'A' && letter <= 'Z') return true;
  }
  return false;
}

const char* file_name(WeightFormat format) {
  switch (format) {
    case WeightFormat::pytorch:
      return "pytorch_model.bin";
    case WeightFormat::onnx:
      return "model.onnx";
    case WeightFormat::safetensors:
      break;
  }
  return "model.safetensors";
}

class Conversion {
 public:
  Conversion(const ConvertOptions& options, const std::function<void(uint64_t, uint64_t)>& progress)
      : options_(options), progress_(progress) {}

  ConvertReport run() {
    checkpoint_ = open_checkpoint(options_.in);
    report_.kind = checkpoint_->kind();
    std::error_code ignored;
    beside_ = fs::is_directory(options_.in, ignored) ? options_.in : options_.in.parent_path();
    if (beside_.empty()) beside_ = ".";
    read_config();
    choose_weights();
    if (options_.single_file) {
      write_weights(options_.out);
    } else if (fs::exists(options_.out, ignored)) {
      write_into(options_.out);
    } else {
      find_vocabulary();
      write_folder(options_.out, [&](const fs::path& partial) { write_into(partial); });
    }
    return std::move(report_);
  }

 private:
  void read_config() {
    config_path_ = options_.config.empty() ? find_config(beside_) : options_.config;
    if (config_path_.empty()) {
      throw Error(
          ErrorCode::usage,
          options_.in.string() +
              ": beside it is neither config.json nor bert_config.json, so the model's sizes "
              "are not known; give one by --config.");
    }
    config_ = BertConfig::from_json(read_description(config_path_), config_path_.string());
  }

  void choose_weights() {
    BertWeights found = match_weights(*checkpoint_, config_);
    refuse_faults(found);
    for (const Weight& weight : found.parameters) {
      if (weight.scale) {
        throw Error(ErrorCode::bad_input,
                    options_.in.string() +
                        ": holds 8-bit weights, for which other formats have no place; convert the "
                        "model that they were made from.");
      }
    }
    for (const std::string& note : found.notes) report_.notes.push_back(note + ".");
    keep(found.parameters, true, "");
    const bool onnx = options_.format == WeightFormat::onnx;
    keep(found.pooler, !onnx && options_.heads != Heads::none, "The pooler is");
    keep(found.heads, !onnx && options_.heads == Heads::all, "Heads of other tasks are");
    leave_out(found.buffers, "Tables that hold no weights are");
    leave_out(found.unknown, "These have no place in a BERT and are");
    std::vector<std::string> others;
    others.reserve(checkpoint_->others().size());
    for (const TensorInfo& other : checkpoint_->others()) others.push_back(other.name);
    leave_out(others, "Tensors beside the model (of an optimizer and the like) are");
    if (!found.has_span_head) {
      if (onnx) {
        throw Error(ErrorCode::bad_input,
                    options_.in.string() +
                        ": has no span head (qa_outputs), and a model for ONNX must answer "
                        "questions; fine-tune it with bertrand train first.");
      }
      report_.notes.emplace_back(
          "There is no span head (qa_outputs): fine-tune the model before asking it.");
    }
    for (Weight& weight : weights_) {
      if (onnx && is_linear_weight(weight.info)) {
        weight.transposed = !weight.transposed;
        std::swap(weight.info.shape[0], weight.info.shape[1]);
      }
      report_.bytes += written(weight.info).bytes();
    }
    report_.tensors = weights_.size();
  }

  void refuse_faults(const BertWeights& found) const {
    std::vector<std::string> all = found.all_faults();
    const auto problems = checkpoint_->problems();
    all.insert(all.end(), problems.begin(), problems.end());
    if (all.empty()) return;
    std::string text =
        fmt::format("{}: cannot be converted to the model that {} describes:", options_.in.string(),
                    config_path_.string());
    for (const std::string& fault : all) text += "\n  " + fault;
    throw Error(ErrorCode::bad_input, text);
  }

  void keep(std::vector<Weight>& weights, bool wanted, const char* what) {
    std::vector<std::string> left;
    for (Weight& weight : weights) {
      if (wanted && is_floating_point(weight.info.type)) {
        weights_.push_back(std::move(weight));
      } else {
        left.push_back(checkpoint_->tensors()[weight.source].name);
      }
    }
    leave_out(left, what);
  }

  void leave_out(const std::vector<std::string>& names, const char* what) {
    if (!names.empty()) {
      report_.notes.push_back(fmt::format("{} left out: {}.", what, listed(names)));
    }
  }

  /// What a weight is in the file to be written.
  TensorInfo written(const TensorInfo& info) const {
    TensorInfo result = info;
    if (options_.type) {
      result.type = *options_.type;
    } else if (options_.format == WeightFormat::onnx && result.type == DataType::f64) {
      result.type = DataType::f32;
    }
    return result;
  }

  void find_vocabulary() {
    vocabulary_ = options_.vocabulary.empty() ? beside_ / "vocab.txt" : options_.vocabulary;
    std::error_code ignored;
    if (fs::exists(vocabulary_, ignored)) return;
    if (!options_.vocabulary.empty()) {
      throw Error(ErrorCode::io, vocabulary_.string() + ": there is no such vocabulary.");
    }
    vocabulary_.clear();
    report_.notes.push_back("There is no vocab.txt beside " + options_.in.string() +
                            ": the folder has none either; give it by --vocab.");
  }

  bool lower_case() {
    if (options_.lower_case) return *options_.lower_case;
    const auto told = configured_lower_case(vocabulary_.parent_path());
    if (told) return *told;
    const bool cased = has_capitals(vocabulary_);
    report_.notes.push_back(
        fmt::format("{} has {}: taken as {}; --{} says otherwise.", vocabulary_.string(),
                    cased ? "pieces with capital letters" : "no piece with a capital letter",
                    cased ? "cased" : "uncased", cased ? "uncased" : "cased"));
    return !cased;
  }

  void write_into(const fs::path& folder) {
    if (vocabulary_.empty() && folder == options_.out) find_vocabulary();
    if (!vocabulary_.empty()) {
      write_tokenizer_files(folder, config_, vocabulary_, lower_case());
    }
    write_weights(folder / file_name(options_.format));
    if (folder == options_.out) tell_other_weights();
    write_file(folder / "config.json", config_.to_json());
  }

  /// A folder that was there may hold weights that are read before those written now.
  void tell_other_weights() {
    const fs::path read_first = find_weights(options_.out);
    if (options_.format != WeightFormat::onnx &&
        read_first.filename() != file_name(options_.format)) {
      report_.notes.push_back(
          fmt::format("{} also holds {}, which is read first; remove one of the two.",
                      options_.out.string(), read_first.filename().string()));
    }
  }

  std::unique_ptr<WeightWriter> make_writer(const fs::path& path) const {
    std::vector<TensorInfo> tensors;
    tensors.reserve(weights_.size());
    for (const Weight& weight : weights_) tensors.push_back(written(weight.info));
    switch (options_.format) {
      case WeightFormat::pytorch:
        return make_torch_writer(path, std::move(tensors));
      case WeightFormat::onnx:
        return make_onnx_writer(path, config_, std::move(tensors));
      case WeightFormat::safetensors:
        break;
    }
    return make_safetensors_writer(path, std::move(tensors));
  }

  void write_weights(const fs::path& path) {
    const auto writer = make_writer(path);
    uint64_t done = 0;
    for (const Weight& weight : weights_) {
      const TensorInfo target = written(weight.info);
      read_weight_parts(*checkpoint_, weight, [&](std::span<const std::byte> part) {
        write_part(*writer, weight, target, path.string(), part);
      });
      checkpoint_->release();
      done += target.bytes();
      progress_(done, report_.bytes);
    }
    writer->commit();
  }

  static void write_part(WeightWriter& writer, const Weight& weight, const TensorInfo& target,
                         const std::string& where, std::span<const std::byte> bytes) {
    if (target.type == weight.info.type || bytes.empty()) {
      writer.write(bytes);
      return;
    }
    const size_t width = size_of(weight.info.type);
    std::vector<float> values;
    std::vector<std::byte> narrow;
    for (size_t begin = 0; begin < bytes.size(); begin += kBlock * width) {
      const auto block = bytes.subspan(begin, std::min(kBlock * width, bytes.size() - begin));
      values.resize(block.size() / width);
      const auto count = static_cast<int64_t>(values.size());
      to_f32({weight.info.name, weight.info.type, {count}, block}, values);
      narrow.resize(values.size() * size_of(target.type));
      narrow_f32(values, target, narrow, where);
      writer.write(narrow);
    }
  }

  const ConvertOptions& options_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  fs::path beside_;  // the folder of the checkpoint
  fs::path config_path_;
  BertConfig config_;
  fs::path vocabulary_;  // empty where there is none
  std::vector<Weight> weights_;
  ConvertReport report_;
};

}  // namespace

ConvertReport convert(const ConvertOptions& options,
                      const std::function<void(uint64_t done, uint64_t all)>& progress) {
  return Conversion(options, progress).run();
}

}  // namespace bertrand
