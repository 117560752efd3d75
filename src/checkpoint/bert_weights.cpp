#include "checkpoint/bert_weights.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/findings.h"
#include "model/parameters.h"

namespace bertrand {
namespace {

constexpr std::string_view kHead = "qa_outputs.";
constexpr std::string_view kScale = "_scale";

/// The layer that pre-training puts on top of [CLS]; kept beside the model, not part of it. In the
/// order in which write_model_folder writes them.
std::vector<ParameterInfo> pooler_parameters(const BertConfig& config) {
  return {{"bert.pooler.dense.bias", {config.hidden_size}, false},
          {"bert.pooler.dense.weight", {config.hidden_size, config.hidden_size}, true}};
}

/// Tensors with a row for each word piece.
bool has_a_row_a_piece(std::string_view name) {
  return name == "bert.embeddings.word_embeddings.weight" || name == "cls.predictions.bias" ||
         name == "cls.predictions.decoder.weight" || name == "cls.predictions.decoder.bias";
}

constexpr int64_t kAny = -1;

/// The shape of a tensor of cls.* or classifier.*; empty for one that is not known. A classifier
/// has as many rows as its task has classes.
std::vector<int64_t> head_shape(std::string_view name, const BertConfig& config) {
  const int64_t hidden = config.hidden_size;
  if (has_a_row_a_piece(name)) {
    return name.ends_with(".weight") ? std::vector{config.vocab_size, hidden}
                                     : std::vector{config.vocab_size};
  }
  if (name == "cls.predictions.transform.dense.weight") return {hidden, hidden};
  if (name.starts_with("cls.predictions.transform.")) return {hidden};
  if (name == "cls.seq_relationship.weight") return {2, hidden};
  if (name == "cls.seq_relationship.bias") return {2};
  if (name == "classifier.weight") return {kAny, hidden};
  if (name == "classifier.bias") return {kAny};
  return {};
}

class Matching {
 public:
  Matching(const Checkpoint& checkpoint, const BertConfig& config)
      : checkpoint_(checkpoint), config_(config) {}

  BertWeights match() {
    sort();
    for (const ParameterInfo& info : bert_parameters(config_)) {
      if (!take(info, result_.parameters) &&
          (result_.has_span_head || !info.name.starts_with(kHead))) {
        result_.missing.push_back(info.name);
      }
    }
    for (const ParameterInfo& info : pooler_parameters(config_)) {
      take(info, result_.pooler);
    }
    for (const auto& [name, index] : scales_) {
      result_.unknown.push_back(checkpoint_.tensors()[index].name);
    }
    for (auto& [name, weight] : left_) {
      if (weight.place == Place::head) {
        cut_rows(weight.weight);
        check_head(weight.weight);
        result_.heads.push_back(std::move(weight.weight));
      } else {
        complain(weight.weight, "is not a part of this model");
      }
    }
    result_.faults = faults_.lines();
    const size_t placed = result_.parameters.size() + result_.pooler.size() + result_.heads.size() +
                          result_.buffers.size() + faults_.count();
    if (placed == 0) tell_names();
    return std::move(result_);
  }

 private:
  struct Found {
    Weight weight;
    Place place;
  };

  const std::string& stored_name(const Weight& weight) const {
    return checkpoint_.tensors()[weight.source].name;
  }
  void complain(const Weight& weight, const std::string& what) {
    faults_.add(printable(stored_name(weight)) + " " + what);
  }

  void sort() {
    const auto& tensors = checkpoint_.tensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto name = model_name(tensors[i].name);
      if (!name && take_scale(i)) {
        continue;
      }
      if (!name) {
        result_.unknown.push_back(tensors[i].name);
      } else if (name->place == Place::buffer) {
        result_.buffers.push_back(tensors[i].name);
      } else {
        add(i, *name);
      }
    }
    const auto first = left_.lower_bound(kHead);
    result_.has_span_head = first != left_.end() && first->first.starts_with(kHead);
  }

  void tell_names() {
    constexpr size_t kShown = 3;
    constexpr std::string_view kObject = "/.ATTRIBUTES/VARIABLE_VALUE";
    const auto& tensors = checkpoint_.tensors();
    Findings names(kShown);
    bool of_objects = false;
    for (const TensorInfo& tensor : tensors) {
      names.add(printable(tensor.name));
      of_objects = of_objects || tensor.name.ends_with(kObject);
    }
    result_.of_no_bert = tensors.empty()
                             ? "it holds no tensor of a model"
                             : fmt::format("none of its {} names is one of a BERT: {}",
                                           tensors.size(), names.list(kInspectNamesAll));
    if (of_objects) {
      result_.of_no_bert +=
          "; TensorFlow 2 wrote it, by the names of a program's objects: load it with that program "
          "and save the model with transformers";
    }
  }

  bool take_scale(size_t index) {
    std::string_view name = checkpoint_.tensors()[index].name;
    if (!name.ends_with(kScale)) {
      return false;
    }
    name.remove_suffix(kScale.size());
    const auto of = model_name(name);
    return of && of->place != Place::buffer && scales_.emplace(of->name, index).second;
  }

  /// 8-bit weights have a factor for each row beside them, also for rows that are cut.
  void add_scale(Weight& weight) {
    const auto scale = scales_.find(weight.info.name);
    if (scale == scales_.end()) {
      complain(weight,
               "holds I8 and has no " + weight.info.name + std::string(kScale) + " beside it");
      return;
    }
    const TensorInfo& info = checkpoint_.tensors()[scale->second];
    const std::vector rows = {weight.transposed ? weight.stored.back() : weight.stored.front()};
    if (info.type != DataType::f32 || info.shape != rows) {
      faults_.add(printable(info.name) + " should hold F32 and have the shape " + shape_text(rows));
    }
    weight.scale = scale->second;
    scales_.erase(scale);
  }

  void add(size_t index, const ModelName& name) {
    const TensorInfo& tensor = checkpoint_.tensors()[index];
    Weight weight{{name.name, tensor.type, tensor.shape}, index, false, tensor.shape};
    if (name.transposed && tensor.shape.size() == 2) {
      weight.transposed = true;
      std::swap(weight.info.shape[0], weight.info.shape[1]);
    }
    const auto [place, fresh] = left_.emplace(name.name, Found{weight, name.place});
    if (!fresh) {
      complain(place->second.weight, "is the same parameter as " + printable(tensor.name));
    }
  }

  bool take(const ParameterInfo& info, std::vector<Weight>& weights) {
    const auto found = left_.find(info.name);
    if (found == left_.end()) {
      return false;
    }
    Weight weight = std::move(found->second.weight);
    left_.erase(found);
    cut_rows(weight);
    if (weight.info.shape != info.shape) {
      complain(weight, "has the shape " + shape_text(weight.info.shape) + " and should have " +
                           shape_text(info.shape));
    }
    if (weight.info.type == DataType::i8 && weight.info.shape.size() == 2) {
      add_scale(weight);
    } else if (!is_floating_point(weight.info.type)) {
      complain(weight, "holds " + std::string(name_of(weight.info.type)) +
                           " and should hold F32, F16 or BF16");
    }
    weights.push_back(std::move(weight));
    return true;
  }

  /// Drops rows that stand for no word piece.
  void cut_rows(Weight& weight) {
    auto& shape = weight.info.shape;
    if (!weight.transposed && !shape.empty() && has_a_row_a_piece(weight.info.name) &&
        is_padded(shape[0], config_.vocab_size)) {
      result_.notes.push_back(
          fmt::format("{}: the last {} of {} rows stand for no word piece (vocab_size is {}) and "
                      "are cut",
                      printable(stored_name(weight)), shape[0] - config_.vocab_size, shape[0],
                      config_.vocab_size));
      shape[0] = config_.vocab_size;
    }
  }

  void check_head(const Weight& weight) {
    const auto& is = weight.info.shape;
    const std::vector<int64_t> should = head_shape(weight.info.name, config_);
    const auto same = [](int64_t have, int64_t want) { return want == kAny || have == want; };
    if (!should.empty() && !std::equal(is.begin(), is.end(), should.begin(), should.end(), same)) {
      std::string text = shape_text(should);
      if (should[0] == kAny) text.replace(1, std::to_string(kAny).size(), "any");
      result_.head_faults.push_back(printable(stored_name(weight)) + " has the shape " +
                                    shape_text(is) + " and should have " + text);
    }
  }

  const Checkpoint& checkpoint_;
  const BertConfig& config_;
  BertWeights result_;
  Findings faults_;
  std::map<std::string, Found, std::less<>> left_;  // by the name in the model
  std::map<std::string, size_t> scales_;            // by that of their weight
};

/// Columns [first, last) of a matrix with `columns`, as rows.
template <typename Number>
void transpose_numbers(const std::byte* in, size_t rows, size_t columns, size_t first, size_t last,
                       std::byte* out) {
  constexpr size_t kTile = 32;  // so that reads and writes both stay within a few cache lines
  for (size_t row = 0; row < rows; row += kTile) {
    for (size_t column = first; column < last; column += kTile) {
      const size_t row_end = std::min(row + kTile, rows);
      for (size_t c = column; c < std::min(column + kTile, last); ++c) {
        for (size_t r = row; r < row_end; ++r) {
          std::memcpy(out + ((c - first) * rows + r) * sizeof(Number),
                      in + (r * columns + c) * sizeof(Number), sizeof(Number));
        }
      }
    }
  }
}

/// A weight as it is stored, [rows, columns].
struct Matrix {
  std::span<const std::byte> bytes;
  size_t rows, columns, width;

  Matrix(std::span<const std::byte> stored, const Weight& weight)
      : bytes(stored),
        rows(static_cast<size_t>(weight.stored[0])),
        columns(static_cast<size_t>(weight.stored[1])),
        width(size_of(weight.info.type)) {}
};

/// Columns [first, last) as rows; `out` is [last - first, rows].
void transpose(const Matrix& in, size_t first, size_t last, std::span<std::byte> out) {
  const auto with = [&](auto number) {
    transpose_numbers<decltype(number)>(in.bytes.data(), in.rows, in.columns, first, last,
                                        out.data());
  };
  switch (in.width) {
    case 1:
      return with(uint8_t{});
    case 2:
      return with(uint16_t{});
    case 4:
      return with(uint32_t{});
    default:
      return with(uint64_t{});
  }
}

}  // namespace

std::vector<std::string> BertWeights::all_faults() const {
  if (!of_no_bert.empty()) return {of_no_bert};
  std::vector<std::string> all;
  all.reserve(missing.size() + faults.size());
  for (const std::string& name : missing) all.push_back(name + " is missing");
  all.insert(all.end(), faults.begin(), faults.end());
  return all;
}

BertWeights match_weights(const Checkpoint& checkpoint, const BertConfig& config) {
  return Matching(checkpoint, config).match();
}

std::span<const std::byte> read_weight(const Checkpoint& checkpoint, const Weight& weight,
                                       std::vector<std::byte>& buffer) {
  if (!weight.transposed) {
    return checkpoint.read(weight.source, buffer).first(weight.info.bytes());
  }
  std::vector<std::byte> own;
  const auto stored = checkpoint.read(weight.source, own);
  make_room(buffer, stored.size(),
            checkpoint.files().front().path.string() + ": tensor \"" +
                printable(checkpoint.tensors()[weight.source].name) + "\"");
  const Matrix matrix(stored, weight);
  transpose(matrix, 0, matrix.columns, buffer);
  return buffer;
}

void read_weight_parts(const Checkpoint& checkpoint, const Weight& weight,
                       const Checkpoint::PartCall& part) {
  if (!weight.transposed) {
    size_t left = weight.info.bytes();  // rows may be cut
    checkpoint.read_parts(weight.source, [&](std::span<const std::byte> bytes) {
      const auto wanted = bytes.first(std::min(left, bytes.size()));
      left -= wanted.size();
      if (!wanted.empty() || bytes.empty()) part(wanted);
    });
    return;
  }
  constexpr size_t kPartBytes = 4 << 20;
  std::vector<std::byte> own;
  const Matrix matrix(checkpoint.read(weight.source, own), weight);
  if (matrix.bytes.empty()) {
    part({});
    return;
  }
  const size_t column_bytes = matrix.rows * matrix.width;
  const size_t step = std::max<size_t>(kPartBytes / column_bytes, 1);
  std::vector<std::byte> strip(std::min(step, matrix.columns) * column_bytes);
  for (size_t first = 0; first < matrix.columns; first += step) {
    const size_t last = std::min(first + step, matrix.columns);
    const auto out = std::span(strip).first((last - first) * column_bytes);
    transpose(matrix, first, last, out);
    part(out);
  }
}

}  // namespace bertrand
