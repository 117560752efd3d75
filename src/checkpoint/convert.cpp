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
#include "checkpoint/converted_config.h"
#include "checkpoint/findings.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/old_model.h"
#include "checkpoint/vocabulary_file.h"
#include "checkpoint/weight_writer.h"
#include "checkpoint/write_as.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 20;  // elements written at once
constexpr size_t kShownNames = 8;

/// "a, b, c and 5 more".
std::string listed(const std::vector<std::string>& names) {
  Findings shown(kShownNames);
  for (const std::string& name : names) shown.add(printable(name));
  return shown.list(kInspectNamesAll);
}

/// A vocabulary is cased where one of its pieces has a capital letter; the special ones do not
/// count.
bool has_capitals(const fs::path& vocabulary) {
  bool special = false;
  bool first = true;
  for (const char letter : read_vocabulary(vocabulary)) {
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
    std::error_code ignored;
    const bool was_there = is_there(options_.out);
    if (was_there && !options_.single_file && !fs::is_directory(options_.out, ignored)) {
      throw Error(ErrorCode::usage,
                  options_.out.string() +
                      ": is a file; give a folder, or for one file of weights a name that ends in "
                      ".safetensors, .bin, .pt, .pth or .onnx.");
    }
    checkpoint_ = open_checkpoint(options_.in);
    report_.kind = checkpoint_->kind();
    report_.notes = checkpoint_->notes();
    beside_ = fs::is_directory(options_.in, ignored) ? options_.in : options_.in.parent_path();
    if (beside_.empty()) beside_ = ".";
    read_config();
    choose_weights();
    find_vocabulary();
    if (was_there) look_at_old_model();
    if (options_.single_file) {
      write_weights(options_.out)->commit();
    } else if (was_there) {
      write_into(options_.out);
    } else {
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
    config_text_ = read_description(config_path_);
    config_ = BertConfig::from_json(config_text_, config_path_.string());
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
    keep(found.parameters, true, nullptr);
    const bool onnx = options_.format == WeightFormat::onnx;
    keep(found.pooler, keeps_pooler(), "The pooler is");
    keep(found.heads, keeps_heads(), "Heads of other tasks are");
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

  bool keeps_pooler() const {
    return options_.format != WeightFormat::onnx && options_.heads != Heads::none;
  }
  bool keeps_heads() const {
    return options_.format != WeightFormat::onnx && options_.heads == Heads::all;
  }

  void refuse_faults(const BertWeights& found) const {
    Findings faults;
    for (std::string& fault : found.all_faults()) faults.add(std::move(fault));
    for (std::string& problem : checkpoint_->problems()) faults.add(std::move(problem));
    if (keeps_heads()) {
      for (const std::string& fault : found.head_faults) {
        faults.add(fault + " (--heads pooler leaves it out)");
      }
    }
    if (faults.count() == 0) return;
    std::string text =
        fmt::format("{}: cannot be converted to the model that {} describes:", options_.in.string(),
                    config_path_.string());
    for (const std::string& fault : faults.lines()) text += "\n  " + fault;
    throw Error(ErrorCode::bad_input, text);
  }

  /// `what` begins a note on what is kept or left out; nullptr: what is kept is the model itself.
  void keep(std::vector<Weight>& weights, bool wanted, const char* what) {
    std::vector<std::string> kept;
    std::vector<std::string> left;
    for (Weight& weight : weights) {
      const bool is_kept = wanted && is_floating_point(weight.info.type);
      (is_kept ? kept : left).push_back(checkpoint_->tensors()[weight.source].name);
      if (is_kept) weights_.push_back(std::move(weight));
    }
    if (what == nullptr) return;
    tell(kept, what, "kept");
    leave_out(left, what);
  }

  void leave_out(const std::vector<std::string>& names, const char* what) {
    tell(names, what, "left out");
  }

  void tell(const std::vector<std::string>& names, const char* what, const char* done) {
    if (!names.empty()) {
      report_.notes.push_back(fmt::format("{} {}: {}.", what, done, listed(names)));
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

  /// Of one file of weights only a vocabulary that was given is looked at.
  void find_vocabulary() {
    if (options_.single_file && options_.vocabulary.empty()) return;
    vocabulary_ =
        options_.vocabulary.empty() ? bertrand::find_vocabulary(beside_) : options_.vocabulary;
    if (is_there(vocabulary_)) {
      if (options_.check_vocabulary) options_.check_vocabulary(vocabulary_, config_);
      if (!options_.single_file) lower_case_ = lower_case();
      return;
    }
    if (!options_.vocabulary.empty()) {
      throw Error(ErrorCode::io, vocabulary_.string() + ": there is no such vocabulary.");
    }
    vocabulary_.clear();
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

  /// What is there and in the way is refused, or told to be replaced.
  void look_at_old_model() {
    if (options_.single_file) {
      if (!options_.overwrite && is_file_of(*checkpoint_, options_.out)) {
        throw Error(ErrorCode::usage, options_.out.string() +
                                          ": is what is to be converted; give another name, or "
                                          "--overwrite to replace it.");
      }
      return;
    }
    old_ = OldModel::look(options_.out,
                          {config_, vocabulary_, lower_case_, file_name(options_.format)});
    if (options_.overwrite || old_.in_the_way.empty()) return;
    throw Error(ErrorCode::usage,
                fmt::format("{}: holds a model already, of which would be replaced: {}. Give "
                            "another folder, or --overwrite.",
                            options_.out.string(), fmt::join(old_.in_the_way, ", ")));
  }

  void write_into(const fs::path& folder) {
    AtomicFiles files;
    if (!vocabulary_.empty()) {
      const Existing tokenizer = old_.same_tokenizer ? Existing::stays : Existing::is_replaced;
      add_tokenizer_files(files, folder, config_, vocabulary_, lower_case_, tokenizer);
    }
    const bool is_old = folder == options_.out;
    const bool config_stays = is_old && !options_.overwrite && is_there(folder / "config.json");
    if (!config_stays) {
      files.add(folder / "config.json", converted_config(config_, config_text_, weights_));
    }
    const auto weights = write_weights(folder / file_name(options_.format));
    weights->commit();
    files.commit();
    if (is_old) clear_old_model();
    tell_vocabulary();
  }

  /// What was in the way and is not written anew.
  void clear_old_model() {
    std::vector<std::string> left = std::move(old_.in_the_way);
    std::erase_if(left, [&](const std::string& name) {
      const bool of_tokenizer = name == "vocab.txt" || name == "tokenizer_config.json" ||
                                name == "special_tokens_map.json";
      return name == "config.json" || name == file_name(options_.format) ||
             (of_tokenizer && !vocabulary_.empty()) ||
             is_file_of(*checkpoint_, options_.out / name);
    });
    remove_old_files(options_.out, left, *checkpoint_);
    if (!left.empty()) {
      report_.notes.push_back(fmt::format("Of the model that was in {} are removed: {}.",
                                          options_.out.string(), fmt::join(left, ", ")));
    }
    tell_other_weights();
  }

  void tell_vocabulary() {
    if (!vocabulary_.empty()) return;
    const bool stays = is_there(options_.out / "vocab.txt");
    report_.notes.push_back(fmt::format(
        "There is no vocab.txt and no tokenizer.json beside {}: {}; give the vocabulary by "
        "--vocab.",
        options_.in.string(),
        stays ? "that in " + options_.out.string() + " stays" : "the folder has none either"));
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

  /// On the disk, not yet under their name.
  std::unique_ptr<WeightWriter> write_weights(const fs::path& path) {
    auto writer = make_writer(path);
    uint64_t done = 0;
    for (const Weight& weight : weights_) {
      const TensorInfo target = written(weight.info);
      const size_t width = size_of(weight.info.type);
      read_weight_parts(*checkpoint_, weight, [&](std::span<const std::byte> part) {
        do {  // a tensor without elements takes one call
          const auto block = part.first(std::min(kBlock * width, part.size()));
          write_as(target, *writer, weight.info, block, path.string());
          done += block.size() / width * size_of(target.type);
          progress_(done, report_.bytes);
          part = part.subspan(block.size());
        } while (!part.empty());
      });
      checkpoint_->release();
    }
    writer->finish();
    return writer;
  }

  const ConvertOptions& options_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  fs::path beside_;  // the folder of the checkpoint
  fs::path config_path_;
  BertConfig config_;
  std::string config_text_;  // as it was given
  fs::path vocabulary_;      // empty where there is none
  bool lower_case_ = true;
  OldModel old_;
  std::vector<Weight> weights_;
  ConvertReport report_;
};

}  // namespace

ConvertReport convert(const ConvertOptions& options,
                      const std::function<void(uint64_t done, uint64_t all)>& progress) {
  return Conversion(options, progress).run();
}

}  // namespace bertrand
